"""Where results are kept: /run/config for programs, load.FOUND for the merge and later boots.

FOUND (0700) contains metadata.yaml, userdata/NN.yaml, scripts, once.json (datasource/once.py), and
source.json, which records their origin. It is replaced as a whole. Userdata contains tokens: only
root can read it.
"""

from __future__ import annotations

import os

from k3os.config.load import FOUND
from k3os.datasource import once
from k3os.datasource.found import Found
from k3os.phases.commands import SCRIPTS
from k3os.system.files import atomic_write
from k3os.system.stamps import utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.userdata import Part
    from k3os.phases.node import Node

RUN = "/run/config"
RAW = "userdata.raw"
ABOUT = "source.json"
MACHINE = "/sys/class/dmi/id/product_uuid"


class Kept:
    """The result of an earlier search: when sources answered, and what they gave."""

    __slots__ = ("found", "when")

    def __init__(self, when: str, found: Found) -> None:
        self.when = when
        self.found = found


def files(found: Found, parts: list[Part], known: dict[str, Found]) -> dict[str, tuple[bytes, int]]:
    """Path below FOUND -> (content, mode)."""
    kept = {"metadata.yaml": (metadata(found), 0o600), RAW: (found.userdata, 0o600)}
    if known:
        kept[once.FILE] = (once.dumped(known), 0o600)
    for number, part in enumerate(parts, 1):
        text = part.data
        if part.is_script:
            script = f"{number:02}-{digest(part.data)}"
            kept[f"scripts/{script}"] = (part.data, 0o700)
            text = f"# the script in the userdata\nrun_cmd:\n  - [{SCRIPTS}{script}]\n".encode()
        kept[f"userdata/{number:02}.yaml"] = (text, 0o600)
    return kept


def digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()[:12]


def metadata(found: Found) -> bytes:
    """Everything except the userdata, as a config.yaml."""
    from k3os.config.dump import double_quoted

    lines = [f"# given by {found.source}"]
    if found.hostname:
        lines.append(f"hostname: {double_quoted(found.hostname)}")
    if found.ssh_keys:
        lines += ["ssh_authorized_keys:", *(f"  - {double_quoted(key)}" for key in found.ssh_keys)]
    return "\n".join([*lines, ""]).encode(errors="replace")


def keep(
    node: Node, found: Found, parts: list[Part], known: dict[str, Found] | None = None
) -> bool:
    """Store a result where the merge finds it; True if it differs from the last one. known: results
    of the media that are read once."""
    import json

    wanted = files(found, parts, known or {})
    directory = node.path(FOUND)
    changed = _present(directory) != wanted
    if changed:
        _replace(directory, wanted)
    about = {
        "source": found.source,
        "when": utc(),
        "machine": node.read(MACHINE).strip(),
    }
    atomic_write(f"{directory}/{ABOUT}", json.dumps(about).encode() + b"\n", mode=0o600)
    return changed


def _present(directory: str) -> dict[str, tuple[bytes, int]]:
    found = {}
    for path, _, names in os.walk(directory):
        for name in names:
            whole = os.path.join(path, name)
            with open(whole, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o7777
                found[os.path.relpath(whole, directory)] = (file.read(), mode)
    found.pop(ABOUT, None)
    return found


def _replace(directory: str, wanted: dict[str, tuple[bytes, int]]) -> None:
    """A power cut meanwhile leaves the old result, the new one, or none; never a mixture."""
    import shutil

    fresh, old = f"{directory}.new", f"{directory}.old"
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    os.mkdir(fresh, 0o700)
    for name, (data, mode) in wanted.items():
        os.makedirs(os.path.dirname(f"{fresh}/{name}"), mode=0o700, exist_ok=True)
        atomic_write(f"{fresh}/{name}", data, mode=mode)
    os.sync()  # all at once: one sync per file takes seconds on a slow disk
    if os.path.isdir(directory):
        os.rename(directory, old)
    os.rename(fresh, directory)
    shutil.rmtree(old, ignore_errors=True)


def forget(node: Node) -> None:
    """Remove what was kept: it is of another machine, or of sources no longer used."""
    import shutil

    shutil.rmtree(node.path(FOUND), ignore_errors=True)


def known(node: Node) -> dict[str, Found]:
    """Results of this machine's media that are read once."""
    from k3os.system.json_text import WRONG_SHAPE, an_object

    directory = node.path(FOUND)
    try:
        with open(f"{directory}/{ABOUT}", "rb") as file:
            if an_object(file.read())["machine"] != node.read(MACHINE).strip():
                return {}
        with open(f"{directory}/{once.FILE}", "rb") as file:
            return once.loaded(file.read())
    except (OSError, *WRONG_SHAPE):
        return {}


def kept(node: Node, names: list[str]) -> Kept | None:
    """The last result if it is of this machine and these sources; otherwise it is removed."""
    from k3os.system.json_text import an_object

    directory = node.path(FOUND)
    try:
        with open(f"{directory}/{ABOUT}", "rb") as file:
            about = an_object(file.read())
        with open(f"{directory}/{RAW}", "rb") as file:
            userdata = file.read()
        sources = str(about["source"]).split(", ")
        is_ours = about["machine"] == node.read(MACHINE).strip() and set(sources) <= set(names)
        when = str(about["when"])
    except (OSError, ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        forget(node)
        return None
    from k3os.config.check import check_text

    text = node.read(f"{FOUND}/metadata.yaml").encode(errors="surrogateescape")
    values, _ = check_text(text, "metadata.yaml")
    hostname, keys = values.get("hostname"), values.get("ssh_authorized_keys")
    texts = [each.data for each in keys.data] if keys and isinstance(keys.data, list) else []
    found = Found(", ".join(sources), hostname.data if hostname else "", texts, userdata)
    return Kept(when, found)


def publish(node: Node, found: Found) -> None:
    """Write the files in /run/config; remove those that this boot's sources do not give."""
    run = node.path(RUN)
    os.makedirs(f"{run}/ssh", exist_ok=True)
    keys = "".join(f"{key}\n" for key in found.ssh_keys)
    for name, data, mode in (
        ("userdata", found.userdata, 0o600),
        ("local_hostname", found.hostname.encode(), 0o644),
        ("ssh/authorized_keys", keys.encode(), 0o644),
    ):
        if data:
            atomic_write(f"{run}/{name}", data, mode=mode)
        elif os.path.exists(f"{run}/{name}"):
            os.unlink(f"{run}/{name}")
