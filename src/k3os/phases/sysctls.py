"""k3os.sysctls: into /proc/sys at once, and into sysctl.d, so that the user's value also overrides
what systemd-sysctl sets later (sysctl.d(5), sysctl.conf(5))."""

from __future__ import annotations

from k3os.phases.actions import Action, OwnFile, OwnSetting, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

FILE = "/etc/sysctl.d/zz-k3os.conf"  # the last in name order


def path_of(name: str) -> str:
    """kernel.printk -> /proc/sys/kernel/printk; the first separator determines the notation."""
    dot, slash = name.find("."), name.find("/")
    if slash < 0 or 0 <= dot < slash:
        name = name.translate({ord("."): "/", ord("/"): "."})
    return f"/proc/sys/{name}"


def _is_name(name: str) -> bool:
    """Without characters that end a name in a settings file, or make it a pattern or comment."""
    first, rest = name[:1], set(name)
    return name.isprintable() and first not in "-#;./" and not rest & set(" =*?[]\"'\\")


def plan(config: Config, node: Node) -> list[Action]:
    key = "k3os.sysctls"
    actions: list[Action] = []
    lines: list[str] = []
    for name, value in config.entries(key).items():
        text = str(value.data)
        path = path_of(name)
        if "\n" in name + text or "/../" in path + "/" or not _is_name(name):
            what = f"set {name!r}"
            actions.append(Refused(f"{key}.{name}", value.place, what, "is not a kernel setting"))
            continue
        lines.append(f"{path.removeprefix('/proc/sys/')} = {text}\n")
        actions.append(OwnSetting(f"{key}.{name}", value.place, name, path, text))
    whole = config.get(key)
    if whole is not None and node.phase != "initrd":
        actions.append(OwnFile(key, whole.place, FILE, "".join(lines).encode()))
    return actions
