"""A NodePool's k3os.kernel_args: one boot applies both the fragment and the arguments, or
neither."""

import pytest

from k3os import names
from k3os.cluster.impact import impact
from k3os.system.frozen import replace

from .test_request import RELEASE, SYSCTLS, Host
from .test_request import host as host

ARGUMENTS = {"k3os": {"kernel_args": ["nosmt"]}}
RENEW = ["k3os", "upgrade", "--kernel-args", "--no-reboot"]


@pytest.fixture
def disk(host: Host) -> Host:
    host.status = replace(host.status, phases_file={"mode": "disk"})
    return host


@pytest.mark.parametrize(
    ("new", "old", "effect"),
    [
        (ARGUMENTS, {}, "reboot"),
        ({}, ARGUMENTS, "reboot"),
        ({"k3os": {"kernel_args": ["a", "b"]}}, {"k3os": {"kernel_args": ["b", "a"]}}, "reboot"),
        (ARGUMENTS, ARGUMENTS, "now"),
        ({"k3os": {"kernel_args": "nosmt"}}, ARGUMENTS, "now"),
    ],
)
def test_a_change_asks_for_a_boot(new: object, old: object, effect: str) -> None:
    assert impact(new, old) == effect


def test_a_node_that_was_not_drained_changes_nothing(disk: Host, capsys) -> None:
    _, told = disk.apply(capsys, config=ARGUMENTS)
    assert (told["state"], told["rebootNeeded"]) == ("RebootRequired", True)
    assert disk.commands == []


def test_the_generation_is_made_before_the_boot(disk: Host, capsys) -> None:
    code, told = disk.apply(capsys, config=ARGUMENTS, reboot=True)
    assert (code, told["state"]) == (0, names.REBOOTING)
    assert disk.commands[0] == RENEW
    assert disk.commands[-1][0] == "systemd-run"
    assert "nosmt" in disk.fragment.read_text()


def test_versions_come_first_and_one_boot_does_it_all(disk: Host, capsys) -> None:
    disk.apply(capsys, k3os=RELEASE, config=ARGUMENTS, reboot=True)
    upgrades = [argv for argv in disk.commands if argv[:2] == ["k3os", "upgrade"]]
    assert upgrades[0][2] == "--k3os"
    assert upgrades[1:] == [RENEW]


def test_they_go_with_the_fragment(disk: Host, capsys) -> None:
    disk.apply(capsys, config=ARGUMENTS, reboot=True)
    disk.boot("b2")
    disk.apply(capsys, id="r2", reboot=True)
    assert disk.commands[0] == RENEW
    assert not disk.fragment.exists()


def test_what_cannot_be_done_is_told_and_the_former_fragment_is_back(disk: Host, capsys) -> None:
    disk.apply(capsys, config=SYSCTLS)
    disk.upgrade_fails = "error: no entry of boot/grub/grub.cfg on this disk starts k3OS"
    code, told = disk.apply(capsys, id="r2", config=ARGUMENTS, reboot=True)
    assert (code, told["state"]) == (1, names.FAILED)
    assert "starts k3OS" in told["message"]
    assert "nosmt" not in disk.fragment.read_text()
    assert "systemd-run" not in [argv[0] for argv in disk.commands]


@pytest.mark.parametrize("fails", [("--kernel-args",), ("--kernel-args", "--rollback")])
def test_versions_that_came_with_it_do_not_wait_for_some_boot(
    disk: Host, capsys, fails: tuple[str, ...]
) -> None:
    def run(argv: list[str], **options: object) -> bytes:
        disk.run_now = None
        disk.upgrade_fails = "error: it cannot be told" if fails_now(argv) else ""
        try:
            return disk.run(argv, **options)
        finally:
            disk.run_now = run

    def fails_now(argv: list[str]) -> bool:
        return any(word in argv for word in fails)

    disk.run_now = run
    code, told = disk.apply(capsys, k3os=RELEASE, config=ARGUMENTS, reboot=True)
    assert (code, told["state"]) == (1, names.FAILED)
    assert "cannot be told" in told["message"]
    assert ("the former versions did not come back" in told["message"]) == (len(fails) > 1)
    assert disk.commands[1:] == [RENEW, ["k3os", "upgrade", "--rollback", "--no-reboot"]]
    assert not disk.fragment.exists()


@pytest.mark.parametrize("mode", ["overlay", "live"])
def test_where_the_key_has_no_effect_only_the_fragment_is_written(
    disk: Host, capsys, mode: str
) -> None:
    disk.status = replace(disk.status, phases_file={"mode": mode})
    _, told = disk.apply(capsys, config=ARGUMENTS, reboot=True)
    assert told["state"] == names.REBOOTING
    assert RENEW not in disk.commands


def test_other_keys_make_no_generation(disk: Host, capsys) -> None:
    disk.apply(capsys, config={"boot_cmd": ["true"]}, reboot=True)
    assert RENEW not in disk.commands
