"""k3os.environment: for commands in every phase, for logins (/etc/environment, pam_env(8)), for k3s
(an EnvironmentFile, systemd.exec(5)) and for our own downloads. Only root can read the two files:
they may contain a proxy's password. Login and sudo read theirs as root, and pass it on.

What others write into /etc/environment reaches k3s, too; ours takes precedence."""

from __future__ import annotations

import os

from k3os.config.k3s_files import LOGINS
from k3os.config.key import BOOT, RUNTIME
from k3os.config.value import Place
from k3os.phases.actions import Action, MakeDirectory, Refused, WriteFile
from k3os.phases.managed_block import lines_of, outside_block, replace_block
from k3os.phases.node import USER
from k3os.phases.phase_report import STATUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY = "k3os.environment"
K3S = "/etc/rancher/k3s/k3s.env"
DIRECTORY = "/etc/rancher/k3s"


def plan(config: Config, node: Node) -> list[Action]:
    variables, actions = read(config)
    node.environment = variables
    if node.phase not in (BOOT, RUNTIME):
        return actions
    whole = config.get(KEY)
    place = whole.place if whole is not None else Place("default")
    # through this group the user can read k3s.yaml here; the setgid bit passes it on to new files
    gid = node.group(USER) or 0
    actions.append(MakeDirectory(KEY, place, DIRECTORY, 0o2750, 0, gid))
    old = node.read(LOGINS)
    theirs, left_out = of_logins(config, node)
    bad = [name for name, text in theirs.items() if not is_plain(text)]
    theirs = {name: text for name, text in theirs.items() if name not in bad}
    lines = [f"{name}={quote(text)}\n" for name, text in (theirs | variables).items()]
    data = "".join(lines).encode(errors="surrogateescape")
    actions.append(WriteFile(KEY, place, K3S, data, 0o600))
    said = [(left_out, "no shell expands the `$`"), (bad, "systemd takes UTF-8 text only")]
    notes = [f"without {', '.join(names)} of {LOGINS}: {why}" for names, why in said if names]
    actions[-1].note = "; ".join(notes)
    if variables or outside_block(old) != lines_of(old):
        # in pam_env(8), a `#` ends a value, even in quotes, and cannot be escaped
        lines = [f'{name}="{text}"' for name, text in variables.items() if "#" not in text]
        new = replace_block(old, lines)
        mode = 0o600 if variables else 0o644
        actions.append(WriteFile(KEY, place, LOGINS, new.encode(errors="surrogateescape"), mode))
        cut = [name for name, text in variables.items() if "#" in text]
        if cut:
            why = "there a `#` ends a value"
            actions[-1].note = f"without {', '.join(cut)}, which k3s gets: {why}"
    return actions


def read(config: Config) -> tuple[dict[str, str], list[Action]]:
    """The valid variables, and refusals of the others."""
    actions: list[Action] = []
    variables: dict[str, str] = {}
    for name, value in config.entries(KEY).items():
        text = str(value.data)
        if not _is_name(name) or "\n" in text:
            message = (
                "is not a valid variable name" if "\n" not in text else "has more than one line"
            )
            actions.append(Refused(f"{KEY}.{name}", value.place, f"set {name!r}", message))
            continue
        variables[name] = text
    return variables, actions


def of_k3s(config: Config, node: Node) -> dict[str, str]:
    """The variables that k3s gets."""
    return of_logins(config, node)[0] | read(config)[0]


def of_logins(config: Config, node: Node) -> tuple[dict[str, str], list[str]]:
    """The variables that others put into LOGINS, and the names of those that cannot be passed to
    k3s. From the entry of write_files, which may not be written yet, else from the file."""
    from k3os.config.k3s_files import variables
    from k3os.phases.ours import FILE
    from k3os.phases.write_files import KEY as FILES
    from k3os.phases.write_files import content_of

    for item in config.items(FILES):
        if isinstance(item.data, dict) and str(item.data["path"].data) == LOGINS:
            return variables(content_of(item))
    if FILE + LOGINS in node.ours.entries():
        return {}, []  # from an entry that may have been removed
    return variables("\n".join(outside_block(node.read(LOGINS))))


# what `adopt` set in this process; the rest of its environment is the caller's
_adopted: dict[str, str] = {}


def adopt(variables: dict[str, str]) -> None:
    """Use the node's variables for this process' downloads. Those set by the caller take
    precedence, in either case: https_proxy is HTTPS_PROXY."""
    callers = {name.lower() for name, text in os.environ.items() if _adopted.get(name) != text}
    for name, text in variables.items():
        if name.lower() not in callers:
            os.environ[name] = _adopted[name] = text


def adopt_configured() -> None:
    """The same from the configuration of a running k3OS: sudo, for one, drops variables."""
    from k3os.config.load import load_config

    if os.path.exists(STATUS):  # elsewhere the kernel's command line is not ours
        adopt(read(load_config(cloud=True)[0])[0])


def _is_name(name: str) -> bool:
    return name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()


def is_plain(text: str) -> bool:
    """Whether systemd accepts a text in an EnvironmentFile: for a byte that is not UTF-8, or a NUL,
    it rejects the whole file."""
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def quote(text: str) -> str:
    """A value in double quotes as systemd's EnvironmentFile= reads it."""
    escaped = "".join(f"\\{c}" if c in '"\\$`' else c for c in text)
    return f'"{escaped}"'
