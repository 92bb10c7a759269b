"""Changes in the configuration that take effect only later: when k3s restarts, or at a boot.

k3s: the runtime phase writes WANTS; k3s.service copies it to HAS whenever it starts k3s, for
whatever reason. Boot: what the first runtime phase of a boot found is what the boot applied.
Lines of "mark name", readable by root only; a mark reveals nothing about the value.
"""

from __future__ import annotations

from k3os.config.k3s_files import read_at_start
from k3os.config.kernel_args import KEY as KERNEL_ARGS
from k3os.config.key import AT_BOOT, RESTART
from k3os.config.schema import BY_PATH
from k3os.config.value import Place, Value, plain
from k3os.phases.actions import Action, Later, WriteFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

WANTS, HAS = "/run/k3os/k3s-wants", "/run/k3os/k3s-has"
BOOTED = "/run/k3os/boot-has"


def plan(config: Config, node: Node) -> list[Action]:
    place = Place("default")
    wants = _text(marks(config, RESTART))
    actions: list[Action] = [WriteFile("k3os.k3s_args", place, WANTS, wants, 0o600)]
    now = marks(config, AT_BOOT)
    if not node.exists(BOOTED):
        return [*actions, WriteFile("boot_cmd", place, BOOTED, _text(now), 0o600)]
    for name in since_boot(config, node):
        if name == KERNEL_ARGS:
            continue  # its applier reports more
        value = config.get(name)
        where = value.place if value is not None else Place("the configuration")
        actions.append(Later(name, where, f"apply {name}", "it has changed; the next boot does it"))
    return actions


def since_boot(config: Config, node: Node) -> list[str]:
    """Names of what has changed since this boot applied it; [] while it is being applied."""
    if not node.exists(BOOTED):
        return []
    return different(_marks(node.read(BOOTED)), marks(config, AT_BOOT))


def not_in_k3s(node: Node) -> list[str]:
    """Names of what has changed since k3s was started; [] also if it was not."""
    if not node.exists(HAS):
        return []
    return different(_marks(node.read(HAS)), _marks(node.read(WANTS)))


def different(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def marks(config: Config, effect: str) -> dict[str, str]:
    """A mark for each key with that effect, and for each entry of a map of texts; for k3s, also for
    the files that it reads."""
    found: dict[str, str] = {}
    for path, value in config.values.items():
        if BY_PATH[path].effect == effect:
            entries = value.data if BY_PATH[path].kind == "text map" else None
            parts = entries if isinstance(entries, dict) else {"": value}
            found.update(
                {f"{path}.{name}".rstrip("."): _mark(part) for name, part in parts.items()}
            )
    if effect == RESTART:
        files = read_at_start(config.get("write_files"))
        found.update({path: _mark(entries) for path, entries in files.items()})
    return found


def _mark(value: Value) -> str:
    from k3os.system.digest import mark_of

    return mark_of(repr(plain(value)).encode(errors="surrogateescape"))


def _text(found: dict[str, str]) -> bytes:
    lines = [f"{mark} {name}\n" for name, mark in found.items() if "\n" not in name]
    return "".join(lines).encode(errors="surrogateescape")


def _marks(text: str) -> dict[str, str]:
    lines = (line.partition(" ") for line in text.splitlines())
    return {name: mark for mark, _, name in lines}
