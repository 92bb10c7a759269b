"""`make extension`: which files of packages go into one, and its metadata."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.errors import UserError
from k3os.generation import extension_fit
from k3os.image import extension
from k3os.image.extension_request import ExtensionRequest, read_request
from k3os.image.extension_units import UNITS, enable, units_in
from k3os.image.settings import Settings, from_environment
from k3os.image.tree import CHARACTER, Entry, Tree
from k3os.node.extensions import SUMS

LISTING = "tool 1:2.8.3-1+b2 tool-source\nlibtool1 2.8.3-1 tool-source\n"
REQUEST = ExtensionRequest("tools", ("tool",))
RELEASE = "usr/lib/extension-release.d/extension-release.tools"


@pytest.fixture
def settings() -> Settings:
    return from_environment({"SOURCE_DATE_EPOCH": "0"})


def tree(*paths: str, **files: str) -> Tree:
    found = Tree()
    for path in paths:
        found.file(path, path.encode())
    for path, text in files.items():
        found.file(path, text.encode())
    return found


IMAGE = tree("usr/bin/sh", "usr/lib/a/own", "etc/passwd", "var/lib/own/file")
IMAGE.link("usr/local", "/var/local")


def composed(found: Tree, settings: Settings, request: ExtensionRequest = REQUEST) -> Tree:
    return extension.composed(request, found, IMAGE, LISTING, settings)


def files_of(found: Tree) -> set[str]:
    return {path for path, entry in found.entries.items() if entry.kind != "dir"}


OWN = {RELEASE, "usr/share/k3os/extensions/tools.packages"}
TMPFILES = "usr/lib/tmpfiles.d/k3os-extension-tools.conf"


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("usr/bin/tool", "usr/bin/tool"),
        ("opt/tool/bin/tool", "opt/tool/bin/tool"),
        # goes where it is on a node
        ("bin/tool", "usr/bin/tool"),
        ("lib/systemd/system/tool.service", "usr/lib/systemd/system/tool.service"),
        ("sbin/tool", "usr/sbin/tool"),
        ("lib/udev/rules.d/1.rules", "usr/lib/udev/rules.d/1.rules"),
        ("usr/share/doc/tool/copyright", "usr/share/doc/tool/copyright"),
        # the image has it, or would hide it
        ("usr/bin/sh", None),
        ("bin/sh", None),
        ("usr/lib/a/own", None),
        ("usr/local/bin/tool", None),
        # not needed on nodes
        ("usr/share/doc/tool/README", None),
        ("usr/share/man/man1/tool.1.gz", None),
        ("usr/include/tool.h", None),
        ("etc/init.d/tool", None),
        ("var/lib/dpkg/status", None),
        # not in /usr or /opt
        ("run/tool", None),
        ("boot/tool", None),
        ("srv/tool", None),
    ],
)
def test_where_a_file_goes(settings: Settings, path: str, there: str | None) -> None:
    found = composed(tree("usr/bin/always", path), settings)
    assert files_of(found) == OWN | {"usr/bin/always"} | ({there} if there else set())


def test_what_is_below_etc_and_var_is_made_at_boot(settings: Settings) -> None:
    found = tree("usr/bin/tool", "etc/tool/tool.conf", "etc/odd name%", "etc/passwd")
    found.directory("etc/tool", 0o750, 0, 1000)
    found.directory("var/lib/tool", 0o700, 12, 34)
    made = composed(found, settings)
    assert made.read("usr/share/factory/etc/tool/tool.conf") == b"etc/tool/tool.conf"
    assert not [path for path in made.entries if path.startswith(("etc", "var"))]
    assert sorted(made.read(TMPFILES).decode().splitlines()) == [
        "C /etc/odd\\x20name\\x25\\x25 - - - -",
        "C /etc/tool/tool.conf - - - -",
        "d /etc/tool 0750 0 1000 -",
        "d /var/lib/tool 0700 12 34 -",
    ]


def test_a_device_is_left_out(settings: Settings) -> None:
    found = tree("usr/bin/tool")
    found.add("usr/lib/tool/null", Entry(CHARACTER, 0o666, device=(1, 3)))
    assert files_of(composed(found, settings)) == OWN | {"usr/bin/tool"}


def test_it_says_whom_it_fits(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(composed(tree("usr/bin/tool"), settings).read(RELEASE))
    assert extension_fit.read_release(str(tmp_path / "x")) == {
        "ID": "k3os",
        "SYSEXT_LEVEL": extension_fit.LEVEL,
        "ARCHITECTURE": "x86-64",
        "IMAGE_ID": "tools",
        "IMAGE_VERSION": "1-2.8.3-1+b2",
    }


def test_every_architecture_of_the_build_has_its_name() -> None:
    assert set(extension.ARCHITECTURES.values()) == set(extension_fit.ARCHITECTURES.values())
    assert SUMS == extension.SUMS


MODULE = "usr/lib/modules/6.12/extra/a.ko.xz"


@pytest.mark.parametrize("path", [MODULE, MODULE.removeprefix("usr/"), MODULE.removesuffix(".xz")])
def test_a_package_with_a_module_of_a_kernel_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="a package has a module of a kernel: /usr/lib/modules"):
        extension.add_files(tree(path), ExtensionRequest("tools", ("tools",)))


@pytest.mark.parametrize("packages", [(), ("tools",)])
def test_modules_of_a_kernel_come_with_files_also_beside_packages(
    packages: tuple[str, ...], settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / MODULE).parent.mkdir(parents=True)
    (tmp_path / MODULE).write_bytes(b"")
    request = ExtensionRequest("tools", packages, tmp_path)
    found = tree("usr/bin/tool")
    extension.add_files(found, request)
    assert MODULE in composed(found, settings, request)


def test_nothing_new_is_no_extension(settings: Settings) -> None:
    with pytest.raises(UserError, match="the image has all of it already"):
        composed(tree("usr/bin/sh"), settings)


STATUS = "\n\n".join(
    f"Package: {name}\nStatus: install ok installed\nVersion: 1" for name in ("sh", "perl-base")
)


@pytest.mark.parametrize(
    ("listing", "reason"),
    [
        (LISTING, ""),
        ("", "the image has all of these already"),
        (f"{LISTING}sh 2 sh\n", "they want sh 2, and the image has 1"),
        # the build removes perl-base from the image, so an extension may have it
        (f"{LISTING}perl-base 1 perl\n", ""),
    ],
)
def test_the_image_must_be_the_one_that_apt_was_told_of(listing: str, reason: str) -> None:
    if not reason:
        extension.check_packages(REQUEST, listing, STATUS)
        return
    with pytest.raises(UserError, match=reason):
        extension.check_packages(REQUEST, listing, STATUS)


def test_apt_is_told_of_all_but_what_is_asked_for() -> None:
    assert extension.without(STATUS, {"perl-base"}) == STATUS.split("\n\n")[0]
    assert extension.without(STATUS, set()) == STATUS


@pytest.mark.parametrize(
    ("name", "variables", "where"),
    [
        ("tools", {"PACKAGES": "a b a"}, ""),
        ("Tools", {"PACKAGES": "a"}, "NAME"),
        ("../x", {"PACKAGES": "a"}, "NAME"),
        ("tools", {}, "PACKAGES"),
        ("tools", {"PACKAGES": "a --option"}, "PACKAGES"),
        ("tools", {"PACKAGES": "a,b"}, "PACKAGES"),
        ("tools", {"FILES": "/nowhere"}, "FILES"),
        ("tools", {"PACKAGES": "ab", "UNITS": "../a.service"}, "UNITS"),
        ("tools", {"PACKAGES": "ab", "UNITS": "a"}, "UNITS"),
        ("tools", {"PACKAGES": "ab", "VERSION": "1 2"}, "VERSION"),
    ],
)
def test_the_variables_are_checked_before_anything_is_built(
    name: str, variables: dict[str, str], where: str
) -> None:
    if not where:
        variables = {"PACKAGES": "ab bc ab"}
        assert read_request(name, variables).packages == ("ab", "bc")
        return
    with pytest.raises(UserError) as caught:
        read_request(name, variables)
    assert caught.value.where == where


@given(st.text(max_size=20))
def test_a_version_becomes_one_of_os_release(text: str) -> None:
    version = "".join(text.split()) or "1"
    found = extension.version_of(f"tool {version} source\n", ("tool",))
    assert re.fullmatch(r"[0-9a-z._~^+-]*", found)


def unit(text: str) -> str:
    return f"[Unit]\nDescription=x\n[Service]\nExecStart=x\n[Install]\n{text}\n"


def test_units_are_started_by_links_as_systemctl_makes_them() -> None:
    found, image = Tree(), Tree()
    texts = {
        "a.service": "WantedBy=multi-user.target other.target\nAlias=b.service\nAlso=a.socket",
        "a.socket": "WantedBy=sockets.target",
        "at@.service": "RequiredBy=multi-user.target",
        "c.service": "# WantedBy=a\n;WantedBy=b\nUpheldBy=multi-user.target",
        "unwanted.service": "WantedBy=multi-user.target",
    }
    for name, text in texts.items():
        found.file(f"{UNITS}/{name}", unit(text).encode())
    image.file(f"{UNITS}/own.timer", unit("WantedBy=timers.target").encode())
    enable(found, image, ("a.service", "at@x.service", "c.service", "own.timer"))
    links = {p.removeprefix(f"{UNITS}/"): e.target for p, e in found.entries.items() if e.target}
    assert links == {
        "multi-user.target.wants/a.service": "../a.service",
        "other.target.wants/a.service": "../a.service",
        "b.service": "a.service",
        "sockets.target.wants/a.socket": "../a.socket",
        "multi-user.target.requires/at@x.service": "../at@.service",
        "multi-user.target.upholds/c.service": "../c.service",
        "timers.target.wants/own.timer": "../own.timer",
    }
    assert "unwanted.service" in units_in(found)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.service", "there is no unit missing.service; the extension has a.service"),
        ("a.service", r"has no WantedBy= or the like in \[Install\]"),
    ],
)
def test_a_unit_that_could_not_be_started_is_an_error(name: str, reason: str) -> None:
    found = tree()
    found.file(f"{UNITS}/a.service", b"[Service]\nExecStart=x\n")
    with pytest.raises(UserError, match=reason):
        enable(found, Tree(), (name,))
