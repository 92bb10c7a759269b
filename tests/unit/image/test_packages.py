"""Errors of a mirror lead to helpful messages."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.image.packages import (
    StaleLists,
    kernel_options,
    mirror_problem,
    suite_hook,
    unknown_firmware,
    without_stale_fixes,
)
from k3os.image.progress import Progress
from k3os.image.rootfs import UDEV_RULES_REMOVED
from k3os.image.settings import Settings, from_environment

# output of apt 2.6 when the mirror's files do not belong together
STALE = """\
Get:1 http://mirror.example/debian trixie InRelease [140 kB]
Get:2 http://mirror.example/debian trixie-updates InRelease [47.3 kB]
Get:3 http://mirror.example/security trixie-security InRelease [43.4 kB]
Err:5 http://mirror.example/debian trixie-updates/main armhf Packages
  File has unexpected size (720 != 1108). Mirror sync in progress? [IP: 192.0.2.1 80]
E: Failed to fetch http://mirror.example/debian/dists/trixie-updates/main/binary-armhf/Packages.xz\
  File has unexpected size (720 != 1108). Mirror sync in progress? [IP: 192.0.2.1 80]
   Hashes of expected file:
    - Filesize:1108 [weak]
E: Failed to fetch http://mirror.example/security/dists/trixie-security/main/binary-armhf/Packages.xz\
  Hash Sum mismatch
E: Some index files failed to download. They have been ignored, or old ones used instead.
"""


def test_lists_that_are_not_the_signed_ones_are_named_with_the_way_out_and_its_price() -> None:
    problem = mirror_problem(STALE, "armhf")
    assert str(problem) == (
        "http://mirror.example/debian: the mirror's lists of armhf packages are not those that it "
        "signs: trixie-updates, trixie-security; try again later, it may be in the middle of an "
        "update; or build with MIRROR=http://mirror.example/debian: an address takes trixie alone, "
        "so without the fixes of trixie-updates, trixie-security"
    )


def test_no_way_out_is_offered_where_the_suite_itself_is_affected() -> None:
    problem = mirror_problem(STALE.replace("dists/trixie-updates", "dists/trixie"), "armhf")
    assert "MIRROR=" not in str(problem)
    assert "signs: trixie, trixie-security; try again later" in str(problem)


def test_no_way_out_is_offered_where_a_suite_beside_the_release_was_asked_for() -> None:
    problem = mirror_problem(STALE.replace("/trixie-updates", "/trixie-backports"), "armhf")
    assert "MIRROR=" not in str(problem)


def build_from(settings: Settings) -> str:
    """A build against a mirror whose lists of fixes are stale."""
    if not settings.mirror:
        problem = mirror_problem(STALE, "armhf")
        assert problem is not None
        raise problem
    return settings.mirror


def test_a_build_goes_on_without_stale_fixes_and_says_so_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(tmp_path / "log") as progress:
        made = without_stale_fixes(from_environment({}), progress, build_from)
    assert made == "http://mirror.example/debian"
    first, last = capsys.readouterr().err.splitlines()
    assert first == (
        "WARNING: http://mirror.example/debian: the mirror's lists of armhf packages are not those "
        "that it signs: trixie-updates, trixie-security"
    )
    assert last.startswith("WARNING: built from trixie alone, without the fixes of trixie-updates")


def test_a_release_does_not_go_without_fixes(tmp_path: Path) -> None:
    signed = replace(from_environment({}), sign_key=tmp_path / "key")
    with Progress(tmp_path / "log") as progress, pytest.raises(StaleLists, match="MIRROR=http"):
        without_stale_fixes(signed, progress, build_from)


def test_where_the_release_itself_is_stale_there_is_no_second_try(tmp_path: Path) -> None:
    tried = []

    def build(settings: Settings) -> None:
        tried.append(settings)
        problem = mirror_problem(STALE.replace("dists/trixie-updates", "dists/trixie"), "armhf")
        assert problem is not None
        raise problem

    with Progress(tmp_path / "log") as progress, pytest.raises(StaleLists):
        without_stale_fixes(from_environment({}), progress, build)
    assert len(tried) == 1


def test_every_other_failure_is_left_to_the_log() -> None:
    assert mirror_problem(STALE.replace("E: Failed", "W: Failed"), "armhf") is None
    missing = (
        "E: Failed to fetch http://mirror.example/debian/dists/trixie/InRelease  404 Not Found"
    )
    assert mirror_problem(missing, "armhf") is None


def test_a_second_suite_is_taken_from_the_same_mirror(tmp_path: Path) -> None:
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    for mirror, place in (("", "http://deb.debian.org/debian"), ("http://m.example/d", "")):
        hook = suite_hook(mirror, "trixie-backports")
        subprocess.run(["sh", "-c", hook, "sh", str(tmp_path)], check=True)
        (written,) = (tmp_path / "etc/apt/sources.list.d").iterdir()
        assert written.read_text() == f"deb {place or mirror} trixie-backports main\n"


@pytest.mark.parametrize(
    "mirror", ["/etc/apt/sources.list", "deb http://m.example/d x main", "a'b"]
)
def test_a_mirror_that_is_no_address_is_refused_for_a_second_suite(mirror: str) -> None:
    with pytest.raises(UserError, match="is not an address"):
        suite_hook(mirror, "trixie-backports")


@pytest.mark.parametrize(
    ("variables", "there", "not_there"),
    [
        ({}, ["firmware-bnx2", "main,non-free-firmware"], ["firmware-brcm80211", "backports"]),
        ({"ARCH": "arm64"}, ["firmware-brcm80211", "linux-image-arm64/trixie-backports"], []),
        ({"FIRMWARE": "firmware-iwlwifi"}, ["firmware-iwlwifi", "firmware-bnx2"], []),
        ({"KERNEL": "cloud"}, ["components=main "], ["firmware"]),
        ({"ARCH": "arm"}, ["busybox-static"], ["firmware", "linux-image"]),
    ],
)
def test_firmware_goes_with_drivers(
    variables: dict[str, str], there: list[str], not_there: list[str]
) -> None:
    options = " ".join(kernel_options(from_environment(variables)))
    assert all(text in options for text in there)
    assert not any(text in options for text in not_there)


def test_a_firmware_package_that_does_not_exist_is_named() -> None:
    settings = from_environment({"FIRMWARE": "firmware-iwlwifi firmware-no"})
    log = "Building dependency tree...\nE: Unable to locate package {}\n"
    problem = str(unknown_firmware(log.format("firmware-no"), settings))
    assert problem.startswith("FIRMWARE: Debian trixie has no package firmware-no for amd64; ")
    assert unknown_firmware(log.format("busybox-static"), settings) is None


# set udev properties for logind (the power button, seats), storage and device plugins
NEEDED_RULES = {
    *("50-udev-default", "60-block", "60-drm", "60-input-id", "60-persistent-input"),
    *("60-persistent-storage", "60-persistent-v4l", "60-serial", "64-btrfs", "70-power-switch"),
    *("71-seat", "75-net-description", "80-drivers", "99-systemd"),
}


def test_no_rule_of_udev_is_removed_that_somebody_reads() -> None:
    assert NEEDED_RULES.isdisjoint(UDEV_RULES_REMOVED)
