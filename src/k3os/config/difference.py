"""What changes between two configurations, and when it takes effect: `k3os config diff`."""

from __future__ import annotations

import difflib
import re

from k3os.config.dump import value_lines
from k3os.config.k3s_files import KEY as WRITE_FILES
from k3os.config.k3s_files import read_at_start
from k3os.config.key import AT_BOOT, NOW, RESTART
from k3os.config.schema import TABLE
from k3os.config.value import Value, plain
from k3os.paths import LOCAL_CONFIG, OWN_SYSTEM, STATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k3os.config.key import Key
    from k3os.config.load import Config
    from k3os.config.value import Plain

# the files that a person may write on a node (k3os.config.load.SOURCES)
PLACES = re.compile(rf"{OWN_SYSTEM}/config\.yaml|{LOCAL_CONFIG}|{STATE}/config\.d/[^/.#][^/]*")
WHEN = {
    NOW: "at once",
    RESTART: "when k3s restarts: `sudo k3os config --restart`; pods keep running",
    AT_BOOT: "at the next boot",
}
SECRET = "a secret: another one"


def lines(before: Config, after: Config, when: Mapping[str, str] = WHEN) -> Iterator[str]:
    """For people: each changed key with the time it takes effect, then `-` and `+` lines without
    secrets. when: the words for each effect of k3os.config.key."""
    for key in TABLE:
        old, new = before.values.get(key.path), after.values.get(key.path)
        if _plain(old) == _plain(new):
            continue
        yield f"{key.path}: {when[_effect(key, old, new)]}"
        texts = [value_lines(key, value) if value is not None else [] for value in (old, new)]
        changed = list(difflib.unified_diff(texts[0], texts[1], n=1, lineterm=""))[2:]
        yield from (f"  {line[0]} {line[1:]}" for line in changed if not line.startswith("@@"))
        if not changed:
            yield f"    ({SECRET})"


def _plain(value: Value | None) -> Plain | None:
    return plain(value) if value is not None else None


def _effect(key: Key, old: Value | None, new: Value | None) -> str:
    if key.path == WRITE_FILES:
        files = [
            {path: plain(value) for path, value in read_at_start(each).items()}
            for each in (old, new)
        ]
        return RESTART if files[0] != files[1] else key.effect
    return key.effect
