"""Media that `auto` reads are read once per machine, as in cloud-init: until their instance-id
changes (in NoCloud's meta-data; on a config drive, `uuid` in meta_data.json).

The data of each is kept with its instance-id beside the other results (store.FOUND), for root only.
A medium without an instance-id is read once.
"""

from __future__ import annotations

from k3os.datasource.found import Found
from k3os.datasource.platforms import ALWAYS_TRIED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from k3os.datasource.search import Answer
    from k3os.system.console import Say

FILE = "once.json"


def reuse_known(
    answers: Iterable[Answer],
    by_auto: frozenset[str],
    known: dict[str, Found],
    say: Say,
) -> dict[str, Found]:
    """Replace the answers of media whose instance-id is known with what they gave first; returns
    what is known from now on. by_auto: the sources that nobody named."""
    media = by_auto & {*ALWAYS_TRIED}
    after = {name: found for name, found in known.items() if name in media}
    for answer in answers:
        found = answer.found
        if answer.name not in media or found is None:
            continue
        before = after.get(answer.name)
        if before is None or before.instance != found.instance:
            if not found.problems:
                after[answer.name] = found
            continue
        if not _same(before, found):
            what = f"the instance-id {found.instance}" if found.instance else "no instance-id"
            say(
                f"cloud data from {answer.name} has changed and is not read again: it has {what}, "
                "as before; a new one has it read"
            )
        answer.found = before
    return after


def _same(one: Found, other: Found) -> bool:
    return (one.hostname, one.ssh_keys, one.userdata) == (
        other.hostname,
        other.ssh_keys,
        other.userdata,
    )


def dumped(known: dict[str, Found]) -> bytes:
    import base64
    import json

    return json.dumps(
        {
            name: {
                "instance": found.instance,
                "hostname": found.hostname,
                "ssh_keys": found.ssh_keys,
                "userdata": base64.b64encode(found.userdata).decode(),
            }
            for name, found in known.items()
        }
    ).encode()


def loaded(data: bytes) -> dict[str, Found]:
    """What dumped() wrote; {} if it is damaged, so that the media are read again."""
    import base64

    from k3os.system.json_text import WRONG_SHAPE, an_object

    try:
        return {
            str(name): Found(
                str(name),
                each["hostname"],
                [str(key) for key in each["ssh_keys"]],
                base64.b64decode(each["userdata"]),
                instance=each["instance"],
            )
            for name, each in an_object(data).items()
        }
    except WRONG_SHAPE:
        return {}
