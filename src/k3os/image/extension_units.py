"""Which units of an extension are started at boot: links beside them, as from `systemctl enable`.

systemctl's links are in /etc, where an extension has nothing (systemd.unit(5), [INSTALL] SECTION
OPTIONS).
"""

from __future__ import annotations

import re

from k3os.errors import UserError
from k3os.image.tree import DIRECTORY, Tree

UNITS = "usr/lib/systemd/system"
KINDS = (".service", ".socket", ".timer", ".path", ".mount", ".target")
# settings in [Install] that name units that want this one -> directory of links beside those
WANTED = {"WantedBy": "wants", "RequiredBy": "requires", "UpheldBy": "upholds"}


def units_in(tree: Tree) -> list[str]:
    """The names of units that could be started at boot."""
    found = []
    for path, entry in tree.walk():
        directory, _, name = path.rpartition("/")
        if directory == UNITS and entry.kind != DIRECTORY and name.endswith(KINDS):
            found.append(name)
    return found


def enable(tree: Tree, image: Tree, units: tuple[str, ...]) -> None:
    """Add the links. image: where a unit may also be. Raises UserError."""
    waiting, done = list(units), set()
    while waiting:
        unit = waiting.pop(0)
        if unit in done:
            continue
        done.add(unit)
        told = _install_section(unit, tree, image)
        waiting += told.get("Also", [])
        targets = [(each, WANTED[key]) for key in WANTED for each in told.get(key, [])]
        if not targets and not told.get("Alias") and unit in units:
            raise UserError(
                f"{unit} has no WantedBy= or the like in [Install]",
                "add WantedBy=multi-user.target to it, or leave it out",
                "UNITS",
            )
        for target, kind in targets:
            _link(tree, image, f"{UNITS}/{target}.{kind}/{unit}", f"../{_file(unit)}")
        for alias in told.get("Alias", []):
            _link(tree, image, f"{UNITS}/{alias}", _file(unit))


def _link(tree: Tree, image: Tree, path: str, target: str) -> None:
    if path not in image and path not in tree:
        tree.link(path, target)


def _file(unit: str) -> str:
    """The file of a unit: foo@.service for foo@bar.service."""
    return re.sub(r"@.+(\.\w+)$", r"@\1", unit)


def _install_section(unit: str, tree: Tree, image: Tree) -> dict[str, list[str]]:
    path = f"{UNITS}/{_file(unit)}"
    found = next((each for each in (tree, image) if path in each), None)
    if found is None:
        known = ", ".join(units_in(tree)) or "none"
        raise UserError(f"there is no unit {unit}; the extension has {known}", "name one", "UNITS")
    told: dict[str, list[str]] = {}
    section = ""
    for line in found.read(path).decode(errors="replace").splitlines():
        text = line.strip()
        if text.startswith("["):
            section = text
        elif section == "[Install]" and text[:1] not in ("#", ";"):
            key, _, value = text.partition("=")
            told.setdefault(key.strip(), []).extend(value.split())
    return told
