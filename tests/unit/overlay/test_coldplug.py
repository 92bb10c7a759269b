"""Which devices udev is told about at boot: all that may have a rule or a driver."""

import re
from pathlib import Path

import pytest

from k3os.system.run import run

ROOTFS = Path(__file__).parents[3] / "overlay/rootfs"
SCRIPT = ROOTFS / "usr/lib/k3os/coldplug"
RULES = "etc/udev/rules.d"
POLL = "sys/module/block/parameters/events_dfl_poll_msecs"


def called(root: Path) -> str:
    """The only call of udevadm."""
    (line,) = calls(root)
    return line


def calls(root: Path) -> list[str]:
    program = root / "bin/udevadm"
    program.parent.mkdir(exist_ok=True)
    program.write_text('#!/bin/sh\necho "$*"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "K3OS_ROOT": str(root)}
    return run([str(SCRIPT)], env=environment, timeout=20).decode().splitlines()


def put(root: Path, name: str, text: str = "") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["", "70-k3os-network.rules", "README"])
def test_devices_are_told_of_and_not_built_in_modules(tmp_path: Path, name: str) -> None:
    if name:
        put(tmp_path, f"{RULES}/{name}")
    line = called(tmp_path)
    assert line.startswith("trigger --type=devices --action=add ")
    assert "--subsystem-nomatch=tty " in line


def test_somebodys_own_rules_hear_of_everything(tmp_path: Path) -> None:
    put(tmp_path, f"{RULES}/70-k3os-network.rules")
    put(tmp_path, f"{RULES}/99-mine.rules")
    line = called(tmp_path)
    assert "--type=all" in line
    assert "nomatch" not in line


def test_no_subsystem_is_left_out_that_takes_drivers_or_that_people_have_rules_for(
    tmp_path: Path,
) -> None:
    left_out = set(re.findall(r"--subsystem-nomatch=(\S+)", called(tmp_path)))
    assert len(left_out) > 10
    with_modalias = {"acpi", "pci", "platform", "virtio", "usb", "pnp", "serio", "input", "cpu"}
    named = {"block", "net", "scsi", "scsi_host", "misc", "drm", "hidraw", "leds", "ieee80211"}
    assert not left_out & (with_modalias | named | {"thermal", "dmi", "rtc", "ptp", "graphics"})


@pytest.mark.parametrize("before,after", [("0\n", "2000\n"), ("500\n", "500\n")])
def test_discs_that_are_put_in_are_noticed(tmp_path: Path, before: str, after: str) -> None:
    path = put(tmp_path, POLL, before)
    called(tmp_path)
    assert path.read_text() == after


def test_a_module_that_was_there_first_has_its_filesystem_mounted(tmp_path: Path) -> None:
    put(tmp_path, "sys/module/fuse/refcnt")
    first, rest = calls(tmp_path)
    assert first.endswith("--subsystem-match=module --sysname-match=fuse")
    assert "--type=devices" in rest
