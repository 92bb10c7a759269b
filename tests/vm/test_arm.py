"""The arm64 ISO in a machine with UEFI. Not part of `make vm`: `make test-arm` runs it."""

import pytest

from k3os.vm.spec import VMSpec
from tests.vm.conftest import build
from tests.vm.node import ask

# an emulated processor of another architecture, and a firmware that tries the network first
BOOT = 400

pytestmark = pytest.mark.extra


def test_the_arm64_iso_boots_live_with_uefi(boot_foreign):
    iso = build("generic", "arm64") / "k3os-arm64.iso"
    with boot_foreign("arm64-iso", VMSpec(cdrom=iso, uefi=True, arch="arm64")) as vm:
        vm.expect("k3OS live", BOOT)
        vm.expect("k3OS: booting live from", BOOT)
        vm.wait_for_shell(BOOT)
        assert ask(vm, "uname -m") == "aarch64"
        assert ask(vm, "sudo k3os status | head -n 1") == "mode       live"
        assert ask(vm, "test -d /sys/firmware/efi && echo uefi") == "uefi"
