"""The map of the code, which newcomers search for the nouns of a sentence."""

import re
from pathlib import Path

import pytest

from k3os.operator import crd
from k3os.phases.table import APPLIERS
from scripts import code_map

# shown to people as they are, or started by name: these have no description
SILENT = {
    "initrd/init",
    "rootfs/etc/default/locale",
    "rootfs/etc/locale.conf",
    "rootfs/etc/motd",
    "rootfs/etc/nsswitch.conf",
    "rootfs/usr/lib/clock-epoch",
    "rootfs/usr/sbin/k3os",
    "rootfs/usr/sbin/kubectl-k3os",
}


def test_every_file_of_the_overlays_says_what_it_is() -> None:
    files = [path for path in code_map.OVERLAY.rglob("*") if path.is_file()]
    silent = {path.relative_to(code_map.OVERLAY).as_posix() for path in files} - {
        path.relative_to(code_map.OVERLAY).as_posix() for path in files if code_map.comment(path)
    }
    assert silent == SILENT


def test_a_unit_is_described_by_its_first_comment_else_its_description(tmp_path: Path) -> None:
    said = {
        "# it waits\n# for it\n[Unit]\nDescription=k3OS: x\n# later\n": "it waits\nfor it",
        "[Unit]\nDescription=k3OS: wait for it\n# later\n": "wait for it",
        "[Unit]\n# why\n# indeed\nA=b\n# later\n": "why\nindeed",
        "#!/bin/sh\n# shellcheck shell=sh\n# does it\nset -u\n# later\n": "does it",
        "A=b\n": "",
    }
    unit = tmp_path / "a.service"
    for text, wanted in said.items():
        unit.write_text(text)
        assert code_map.comment(unit) == wanted, text


def test_files_that_say_the_same_come_once() -> None:
    _, others = code_map.overlays()
    told = [said for _, said in others]
    assert len(told) == len(set(told))


@pytest.mark.parametrize("module", [name for name, applier in APPLIERS.items() if applier.keys])
def test_an_applier_names_its_keys_at_once(module: str) -> None:
    said = code_map.first_paragraph(code_map.docstring(code_map.PACKAGE / f"phases/{module}.py"))
    for key in APPLIERS[module].keys:
        section, _, name = key.rpartition(".")
        is_named = re.search(rf"\b{name}\b", said)
        assert is_named or (section not in ("", "k3os") and section in said), key


def test_each_field_of_a_nodepool_is_named() -> None:
    """The fields of spec and spec.strategy; fields below those are documented with them."""
    said = code_map.markdown()
    spec = crd.schema()["properties"]["spec"]["properties"]
    missing = [
        name
        for name in [*spec, *spec["strategy"]["properties"]]
        if not re.search(rf"\b{name}\b", said)
    ]
    assert missing == []
