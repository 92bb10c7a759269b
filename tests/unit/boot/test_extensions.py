"""System extensions in the early boot: what is mounted where, and what is left out and why.

Mounting is faked: an image is a file with the name of the directory that has its files.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from k3os.boot import extensions, host_setup, root
from k3os.boot.extensions import Extensions
from k3os.node.boot_health import lost_extensions
from tests.unit.extension_trees import FITTING, extension, image, write

KERNEL = os.uname().release


class Boot:
    """A boot with a generation that has these extensions."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.links = directory / "links"
        self.image = image(directory / "image", "usr/bin/sh")
        self.root = directory / "root"
        self.overlays: list[tuple[str, list[str]]] = []
        self.bound: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.refused: set[str] = set()
        self.links.mkdir()
        for name in ("usr/lib/modules", "usr/lib/firmware", "opt"):
            (self.root / name).mkdir(parents=True)

    def add(self, name: str, *paths: str, fields: dict[str, str] = FITTING) -> Path:
        tree = extension(self.directory / f"trees/{name}", name, *paths, fields=fields)
        (self.links / f"{name}.raw").write_text(str(tree))
        return tree

    def go(self) -> tuple[bool, dict[str, str]]:
        """Whether /usr is an overlay, and name -> what is wrong with it."""
        found = Extensions(str(self.links), str(self.image))
        shown = found.show_usr(f"{self.root}/usr")
        found.show_rest(str(self.root))
        report = json.loads(Path(extensions.EXTENSIONS).read_text())
        return shown, {name: entry["reason"] for name, entry in report.items()}

    def mount(self, source: str, target: str, kind: str, flags: int, data: str) -> None:
        path = str(Path(target).relative_to(self.root))
        if path in self.refused:
            raise OSError(errno.EINVAL, "Invalid argument", source, None, target)
        assert (kind, flags) == ("overlay", 1)
        layers = data.removeprefix("lowerdir=").split(":")
        self.overlays.append((path, [self.short(each) for each in layers]))

    def short(self, path: str) -> str:
        return str(Path(path).relative_to(self.directory))


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Boot:
    found = Boot(tmp_path)

    def mount_image(path: str, target: str) -> None:
        tree = Path(path).read_text()
        if not os.path.isdir(tree):
            raise OSError(errno.EINVAL, "Invalid argument", path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(tree, target)

    monkeypatch.setattr(extensions, "EXTENSION_ROOTS", f"{tmp_path}/mounted")
    monkeypatch.setattr(extensions, "EXTENSIONS", f"{tmp_path}/report.json")
    monkeypatch.setattr(extensions, "say", found.said.append)
    monkeypatch.setattr(extensions.mounts, "mount", found.mount)
    monkeypatch.setattr(extensions.mounts, "mount_image", mount_image)
    monkeypatch.setattr(
        extensions.mounts, "bind", lambda *pair: found.bound.append(tuple(map(found.short, pair)))
    )
    return found


def test_the_images_own_files_come_first(boot: Boot) -> None:
    boot.add("tools", "usr/bin/tool")
    boot.add("agent", "usr/bin/agent", fields={**FITTING, "IMAGE_VERSION": "1.2"})
    assert boot.go() == (True, {"agent": "", "tools": ""})
    assert boot.overlays == [
        ("usr", ["image/usr", "mounted/agent/usr", "mounted/tools/usr"]),
    ]
    assert boot.said == []
    report = json.loads((boot.directory / "report.json").read_text())
    assert report["agent"] == {"version": "1.2", "reason": ""}


def test_a_kernels_modules_and_firmware_are_beside_those_of_the_image(boot: Boot) -> None:
    boot.add("gpu", f"usr/lib/modules/{KERNEL}/extra/gpu.ko", "usr/lib/firmware/gpu.bin")
    boot.go()
    # the list of all modules is from the extension, which was made for both
    assert boot.overlays[1:] == [
        ("usr/lib/modules", ["mounted/gpu/usr/lib/modules", "root/usr/lib/modules"]),
        ("usr/lib/firmware", ["root/usr/lib/firmware", "mounted/gpu/usr/lib/firmware"]),
    ]


def test_a_directory_of_opt_is_shown_where_the_node_has_none(boot: Boot) -> None:
    boot.add("agent", "opt/agent/bin/agent", "opt/other/a")
    (boot.root / "opt/other").mkdir()
    assert boot.go() == (True, {"agent": ""})
    assert boot.bound == [
        ("mounted/agent/opt/agent", "root/opt/agent"),
        ("mounted/agent/opt/other", "root/opt/other"),
    ]


def test_files_of_the_node_in_opt_are_not_hidden(boot: Boot) -> None:
    boot.add("agent", "opt/agent/bin/agent")
    write(boot.root / "opt/agent/data", "mine")
    _, wrong = boot.go()
    assert wrong["agent"] == (
        "only a part of it is there: /opt/agent has files already, which it would hide"
    )
    assert boot.bound == []


def missing(boot: Boot) -> None:
    (boot.links / "bad.raw").symlink_to("nowhere")


def garbage(boot: Boot) -> None:
    (boot.links / "bad.raw").write_text("garbage")


def unfitting(boot: Boot) -> None:
    boot.add("bad", fields={"ID": "debian"})


def of_another_kernel(boot: Boot) -> None:
    boot.add("bad", "usr/lib/modules/1.2.3/a.ko")


def second_modules(boot: Boot) -> None:
    boot.add("a-gpu", f"usr/lib/modules/{KERNEL}/a.ko")
    boot.add("bad", f"usr/lib/modules/{KERNEL}/b.ko")


def unnamed(boot: Boot) -> None:
    boot.add("a")
    (boot.links / "a.raw").rename(boot.links / "bad.raw")


BAD: dict[str, tuple[Callable[[Boot], None], str]] = {
    "missing": (missing, "its file is missing"),
    "damaged": (garbage, "it cannot be mounted, perhaps it is damaged: Invalid argument"),
    "unfitting": (unfitting, "it was made for ID=debian, not for k3os"),
    "of another kernel": (of_another_kernel, "it has modules for the kernel 1.2.3"),
    "with modules as another one": (second_modules, "another one has modules of the kernel, too"),
    "without its release": (unnamed, "it has no /usr/lib/extension-release.d"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_that_cannot_be_costs_only_itself_and_is_named(boot: Boot, name: str) -> None:
    spoil, reason = BAD[name]
    boot.add("good", "usr/bin/good")
    spoil(boot)
    shown, wrong = boot.go()
    assert shown
    assert wrong["good"] == ""
    assert wrong["bad"].startswith(f"it is left out: {reason}")
    assert not any("bad" in layer for _, layers in boot.overlays for layer in layers)
    assert boot.said == [f"the extension bad: {wrong['bad']}"]
    assert lost_extensions(extensions.EXTENSIONS) == f"the extension bad: {wrong['bad']}"


@pytest.mark.parametrize("number", [errno.EIO, errno.EUCLEAN])
def test_a_directory_that_cannot_be_read_would_break_the_systems_own(
    boot: Boot, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def paths(root: str) -> Any:
        yield "usr"
        if root.endswith("/bad"):
            raise OSError(number, os.strerror(number), root)

    boot.add("bad")
    boot.add("good")
    monkeypatch.setattr(extensions.fit, "paths", paths)
    _, wrong = boot.go()
    assert wrong == {"bad": f"it is left out: it is damaged: {os.strerror(number)}", "good": ""}


def test_without_an_overlay_the_image_is_there_alone(boot: Boot) -> None:
    boot.add("tools", "usr/bin/tool", "opt/tools/a")
    boot.refused.add("usr")
    shown, wrong = boot.go()
    assert not shown
    assert "it is left out: no overlay is possible at" in wrong["tools"]
    assert boot.bound == []


def test_an_error_of_ours_costs_the_extension_and_not_the_boot(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise ValueError("a bug")

    boot.add("tools")
    monkeypatch.setattr(extensions.fit, "obstacle", broken)
    shown, wrong = boot.go()
    assert not shown
    assert "a bug" in wrong["tools"]


def test_what_is_shown_on_the_console_cannot_command_it(boot: Boot) -> None:
    boot.add("bad", fields={"ID": "\033[2Jdebian"})
    _, wrong = boot.go()
    assert "\033" not in wrong["bad"] + boot.said[0]


def test_all_may_be_wrong_and_the_image_boots(boot: Boot) -> None:
    garbage(boot)
    assert boot.go()[0] is False
    assert boot.overlays == []


def test_their_users_are_made_of_those_that_are_there(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    boot.add("agent", "usr/lib/sysusers.d/agent.conf")
    boot.add("tools")
    boot.add("bad", "usr/lib/sysusers.d/bad.conf", fields={"ID": "debian"})
    boot.go()
    monkeypatch.setattr("k3os.system.run.run", lambda argv, **_: called.append(argv))
    extensions.add_users()
    path = f"{boot.directory}/mounted/agent/usr/lib/sysusers.d/agent.conf"
    assert called == [["systemd-sysusers", path]]


def test_without_users_no_process_is_started(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    boot.add("tools")
    boot.go()
    monkeypatch.setattr("k3os.system.run.run", lambda *_, **__: pytest.fail("started"))
    extensions.add_users()


def test_a_boot_without_any_looks_once_and_imports_nothing() -> None:
    """The cost for a node without extensions: one stat(2) in each of two places."""
    code = (
        "import sys, k3os.boot.init, k3os.boot.root, k3os.boot.host_setup\n"
        "print([n for n in sys.modules if 'extension' in n])"
    )
    from subprocess import PIPE, run
    from sys import executable

    assert run([executable, "-c", code], check=True, stdout=PIPE).stdout.strip() == b"[]"
    assert host_setup.EXTENSIONS.startswith("/run/")
    assert root.mounted_extensions
