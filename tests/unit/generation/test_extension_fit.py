"""Whether an extension fits: a table of the rules of systemd-sysext(8) and of ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.generation import extension_fit as fit
from tests.unit.extension_trees import FITTING, IMAGE, extension, image, write

KERNEL = "6.12.1-amd64"


def obstacle(tmp_path: Path, machine: str = "x86_64") -> str:
    return fit.obstacle(str(tmp_path / "x"), "tools", str(tmp_path / "image"), machine, KERNEL)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (FITTING, ""),
        ({"ID": "_any"}, ""),
        ({"ID": "k3os", "VERSION_ID": "0.1.0"}, ""),
        ({"ID": '"k3os"', "SYSEXT_LEVEL": "'debian13'", "VERSION_ID": "9"}, ""),
        ({**FITTING, "ARCHITECTURE": "x86-64"}, ""),
        ({**FITTING, "ARCHITECTURE": "_any"}, ""),
        ({**FITTING, "SYSEXT_SCOPE": "initrd system"}, ""),
        ({"ID": "debian", "VERSION_ID": "13"}, "made for ID=debian, not for k3os"),
        ({}, "made for ID=nothing"),
        ({"ID": "k3os"}, "made for VERSION_ID=none, this k3OS has 0.1.0"),
        ({"ID": "k3os", "VERSION_ID": "0.0.9"}, "made for VERSION_ID=0.0.9"),
        (
            {"ID": "k3os", "SYSEXT_LEVEL": "debian12"},
            "SYSEXT_LEVEL=debian12, this k3OS has debian13",
        ),
        ({**FITTING, "ARCHITECTURE": "arm64"}, "made for arm64, this machine is x86-64"),
        ({**FITTING, "SYSEXT_SCOPE": "portable"}, "its SYSEXT_SCOPE is portable"),
    ],
)
def test_who_made_it_for_what(tmp_path: Path, fields: dict[str, str], reason: str) -> None:
    image(tmp_path / "image")
    extension(tmp_path / "x", "tools", "usr/bin/tool", fields=fields)
    found = obstacle(tmp_path)
    assert (reason in found) if reason else not found


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("usr/bin/tool", ""),
        ("opt/tool/bin/tool", ""),
        (f"usr/lib/modules/{KERNEL}/extra/a.ko", ""),
        ("etc/tool.conf", "it has /etc, and only files below /usr and /opt"),
        ("var/lib/tool", "it has /var"),
        ("lib/modules/a", "it has /lib"),
        ("usr/lib/modules/6.1.0/a.ko", f"modules for the kernel 6.1.0, this one is {KERNEL}"),
        ("opt/tool", "/opt/tool is not a directory"),
    ],
)
def test_where_its_files_are(tmp_path: Path, path: str, reason: str) -> None:
    image(tmp_path / "image")
    extension(tmp_path / "x", "tools", path)
    found = obstacle(tmp_path)
    assert (reason in found) if reason else not found


def test_one_that_is_called_otherwise_is_another_one(tmp_path: Path) -> None:
    image(tmp_path / "image")
    extension(tmp_path / "x", "others")
    assert "it has no /usr/lib/extension-release.d/extension-release.tools" in obstacle(tmp_path)
    assert fit.names_in(str(tmp_path / "x")) == ["others"]
    assert fit.names_in(str(tmp_path / "image")) == []


def test_an_image_that_has_no_level_compares_versions(tmp_path: Path) -> None:
    image(tmp_path / "image", fields={"ID": "k3os", "VERSION_ID": "0.0.1"})
    extension(tmp_path / "x", "tools")
    assert "VERSION_ID=none, this k3OS has 0.0.1" in obstacle(tmp_path)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "armv7l"])
def test_each_of_our_architectures_has_a_name_there(tmp_path: Path, machine: str) -> None:
    image(tmp_path / "image")
    extension(
        tmp_path / "x", "tools", fields={**FITTING, "ARCHITECTURE": fit.ARCHITECTURES[machine]}
    )
    assert not obstacle(tmp_path, machine)


def test_what_the_system_has_would_not_be_seen(tmp_path: Path) -> None:
    base = image(tmp_path / "image", "usr/bin/same", "usr/sbin/file", "usr/lib/a/b")
    (base / "usr/local").symlink_to("/var/local")
    root = extension(tmp_path / "x", "tools", "usr/bin/same", "usr/bin/own", "usr/sbin/file/x")
    write(root / "usr/local/bin/tool")
    (root / "usr/lib/a").symlink_to("b")
    assert sorted(fit.unseen(str(root), str(base))) == [
        "usr/bin/same",
        "usr/lib/a",
        "usr/local",
        "usr/sbin/file",
    ]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every directory")
def test_a_directory_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    extension(tmp_path / "x", "tools", "usr/bin/tool")
    (tmp_path / "x/usr/bin").chmod(0)
    with pytest.raises(PermissionError):
        list(fit.paths(str(tmp_path / "x")))


def test_every_path_is_given_once_and_relative(tmp_path: Path) -> None:
    extension(tmp_path / "x", "tools", "usr/bin/tool")
    found = list(fit.paths(str(tmp_path / "x")))
    assert sorted(found) == [
        "usr",
        "usr/bin",
        "usr/bin/tool",
        "usr/lib",
        "usr/lib/extension-release.d",
        "usr/lib/extension-release.d/extension-release.tools",
    ]


@given(st.text(max_size=70))
def test_a_name_is_no_path_and_no_option_of_a_mount(text: str) -> None:
    if fit.is_name(text):
        assert not set(text) & set("/:,\\ =\n\0") and text not in (".", "..")
        assert len(text) <= 64


def test_the_images_own_release_has_the_fields(tmp_path: Path) -> None:
    write(tmp_path / "a", '# comment\nID=k3os\n\nNAME="a=b"\nodd\n')
    assert fit.read_release(str(tmp_path / "a")) == {"ID": "k3os", "NAME": "a=b"}
    assert set(IMAGE) >= {"ID", "VERSION_ID"}
