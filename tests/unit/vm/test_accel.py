import json
import sys

import pytest

from k3os.errors import UserError
from k3os.vm import accel
from k3os.vm.accel import KVM, TCG, choose, kvm_runs

PANIC = "echo 'Kernel panic - not syncing: VFS: Unable to mount root fs'"


@pytest.fixture
def qemu(tmp_path):
    """Makes a fake QEMU that counts its starts."""

    def make(body):
        program = tmp_path / "qemu"
        program.write_text(f"#!/bin/sh\necho start >>{tmp_path}/starts\n{body}\n")
        program.chmod(0o755)
        return str(program)

    make.starts = lambda: len((tmp_path / "starts").read_text().split())
    return make


@pytest.fixture
def ask(tmp_path):
    device, kernel = tmp_path / "kvm", tmp_path / "vmlinuz"
    device.touch()
    kernel.touch()

    def call(program, **other):
        settings = {"environ": {}, "device": str(device), "program": program, **other}
        return choose(tmp_path / "cache", settings.pop("kernel", kernel), **settings)

    return call


def test_kvm_is_taken_when_a_guest_ran_to_its_end(ask, qemu):
    assert ask(qemu(PANIC)) == KVM


def test_a_device_that_opens_is_not_enough(ask, qemu):
    assert ask(qemu("echo 'failed to set MSR'; exit 134")) == TCG


def test_a_guest_that_hangs_means_tcg_after_a_few_seconds(tmp_path, qemu):
    assert not kvm_runs(tmp_path / "vmlinuz", qemu("sleep 60"), seconds=0.3)


def test_a_guest_that_booted_and_then_did_not_leave_counts_as_running(tmp_path, qemu):
    assert kvm_runs(tmp_path / "vmlinuz", qemu(f"{PANIC}; sleep 60"), seconds=1)


def test_a_qemu_that_is_not_installed_means_tcg(ask, tmp_path):
    assert ask(str(tmp_path / "nothere")) == TCG


def test_the_probe_is_made_once_for_each_boot_of_the_host(ask, qemu, monkeypatch):
    program = qemu(PANIC)
    for _ in range(3):
        assert ask(program) == KVM
    assert qemu.starts() == 1
    monkeypatch.setattr(accel, "host_key", lambda: "another kernel")
    assert ask(program) == KVM
    assert qemu.starts() == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"host": "x", "accel": "tcg"})])
def test_a_spoiled_result_is_found_out_anew(ask, qemu, tmp_path, content):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / accel.RESULT).write_text(content)
    assert ask(qemu(PANIC)) == KVM


def test_without_the_device_nothing_is_started(ask, tmp_path):
    assert ask(sys.executable, device=str(tmp_path / "none")) == TCG


def test_without_a_kernel_to_try_tcg_is_taken_and_nothing_remembered(ask, qemu, tmp_path):
    assert ask(qemu(PANIC), kernel=None) == TCG
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("name", "wanted"), [("tcg", TCG), ("kvm", KVM)])
def test_the_environment_decides_without_a_probe(ask, name, wanted):
    assert ask("/nothere", environ={"K3OS_ACCEL": name}) == wanted


def test_an_unknown_accelerator_is_an_error_that_names_the_variable(ask):
    with pytest.raises(UserError) as error:
        ask("/nothere", environ={"K3OS_ACCEL": "xen"})
    assert error.value.where == "K3OS_ACCEL"
