"""The map of the code: a stranger searches it for the nouns of a sentence."""

from pathlib import Path

from scripts import code_map

# shown to people as it is, or started by name: nothing is said in these
SILENT = {
    "initrd/init",
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
