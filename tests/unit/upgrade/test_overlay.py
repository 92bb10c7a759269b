"""Upgrades on top of another system, with its kernel and root: no generation has a kernel."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from k3os.cli.upgrade import parse
from k3os.errors import UserError
from k3os.generation import grubenv, trial
from k3os.node import installed
from k3os.node import upgrade as command
from k3os.node.status import rollback
from k3os.phases import phase_report
from k3os.upgrade import perform
from k3os.upgrade.plan import Part, Plan, make_plan
from tests.unit.generation.conftest import lay_down

OLD = {"k3os": "0.1.0", "k3s": "v1.33.1+k3s1"}
NEW = {"k3os": "0.2.0", "k3s": "v1.34.0+k3s1"}


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch) -> Path:
    """The root of the other system, into which /k3os was unpacked."""
    root = tmp_path / "foreign"
    system = root / "k3os/system"
    lay_down(system, 1, **OLD)
    (system / "current").symlink_to("generations/1")
    monkeypatch.setattr(command, "ON_DISK", str(system))
    monkeypatch.setattr(command, "RUNNING", str(tmp_path / "generation"))
    return root


def gather(*options: str) -> dict[str, Part]:
    parsed = parse([*options, "--insecure"])
    assert parsed is not None
    with ExitStack() as stack:
        return command.gather(parsed, "amd64", stack)


def upgrade(release: Path) -> Plan:
    installed = command.look()
    with ExitStack() as stack:
        parts = command.gather({"SRC": str(release), "--insecure": "yes"}, "amd64", stack)
        decided = make_plan(installed, parts, arch="amd64", created=5, room=1 << 40)
        perform.perform(decided, installed, lambda _: None)
    return decided


def test_the_kernel_of_a_release_is_left_out_with_a_warning(overlay, release, capsys):
    assert set(gather(str(release))) == {"k3os", "k3s"}
    assert "warning: the kernel of this node is that of the system below" in capsys.readouterr().out
    assert set(gather("--k3os", str(release), "--no-kernel")) == {"k3os"}
    assert "warning" not in capsys.readouterr().out


def test_the_kernel_alone_cannot_be_upgraded(overlay, release):
    with pytest.raises(UserError, match="is that of the system below k3OS"):
        gather("--k3os", str(release), "--kernel")


def test_k3os_and_k3s_are_upgraded_at_the_next_boot(overlay, release):
    decided = upgrade(release)
    system = overlay / "k3os/system"
    assert decided.changed == ("k3os", "k3s")
    assert decided.reboot
    assert sorted(path.name for path in (system / "current").iterdir()) == [
        "k3os",
        "k3s",
        "manifest.json",
    ]
    assert (system / "current/k3os/rootfs.squashfs").read_text().split()[1] == NEW["k3os"]
    assert (system / "previous/k3os/rootfs.squashfs").read_text().split()[1] == OLD["k3os"]
    assert not (system / "kernel").exists()


def test_a_version_that_fails_goes_and_what_grub_keeps_of_the_other_system_stays(overlay, release):
    grubenv.write(str(overlay), {"saved_entry": "debian"})
    upgrade(release)
    trial.begin(str(overlay), "generations/2", 90)
    trial.fail(str(overlay), "k3s' API server is not ready")
    trial.go_back(str(overlay))
    assert grubenv.read(str(overlay)) == {"saved_entry": "debian"}
    record = rollback(str(overlay / "k3os/system")).as_dict()
    assert (record["failed"], record["back_to"]) == (NEW, OLD)
    assert (overlay / "k3os/system/current/k3s/k3s").read_text().split()[1] == OLD["k3s"]


def test_without_a_trial_nothing_is_written_to_the_other_systems_boot_directory(overlay):
    trial.confirm(str(overlay))
    assert not (overlay / "boot").exists()


def test_it_counts_as_installed_without_a_state_partition(monkeypatch):
    def none() -> str:
        raise UserError("this is no installed system")

    monkeypatch.setattr(installed, "state_device", none)
    monkeypatch.setattr(phase_report, "booted_mode", lambda: "overlay")
    installed.check_installed()
    monkeypatch.setattr(phase_report, "booted_mode", lambda: "live")
    with pytest.raises(UserError, match="no installed system"):
        installed.check_installed()
