import itertools
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.vm.accel import TCG
from k3os.vm.spec import Disk, Tap, VMSpec, arguments


def values(command, option):
    return [value for name, value in itertools.pairwise(command) if name == option]


def test_a_kernel_is_booted_with_its_initrd_and_command_line():
    spec = VMSpec(kernel=Path("/k"), initrd=Path("/i"), append="quiet a=b", forwards=())
    command = arguments(spec, TCG, {})
    assert values(command, "-kernel") == ["/k"]
    assert values(command, "-initrd") == ["/i"]
    assert values(command, "-append") == ["quiet a=b"]


def test_without_a_kernel_the_firmware_boots_the_cd_before_the_disks():
    spec = VMSpec(cdrom=Path("/a.iso"), disks=(Disk(Path("/d.qcow2"), "qcow2"),), forwards=())
    devices = values(arguments(spec, TCG, {}), "-device")
    assert "ide-cd,drive=drive0,bootindex=0" in devices
    assert "virtio-blk-pci,drive=drive1,bootindex=1" in devices


def test_a_command_line_without_a_kernel_is_refused():
    with pytest.raises(UserError, match="needs a kernel"):
        arguments(VMSpec(append="quiet", forwards=()), TCG, {})


def test_memory_processors_and_accelerator_are_passed_on():
    command = arguments(VMSpec(memory=1024, cpus=3, forwards=()), TCG, {})
    assert values(command, "-m") == ["1024"]
    assert values(command, "-smp") == ["3"]
    assert values(command, "-accel") == ["tcg,thread=multi"]


@pytest.mark.parametrize(
    ("interface", "controller"),
    [("usb-storage", "qemu-xhci,id=xhci"), ("virtio-cdrom", "virtio-scsi-pci,id=scsi")],
)
def test_two_disks_of_one_kind_share_their_controller(interface, controller):
    disks = (Disk(Path("/a"), interface=interface), Disk(Path("/b"), interface=interface))
    devices = values(arguments(VMSpec(disks=disks, forwards=()), TCG, {}), "-device")
    assert devices.count(controller) == 1
    assert sum(device.startswith(("usb-storage", "scsi-cd")) for device in devices) == 2


def test_an_nvme_disk_always_has_a_serial_number():
    disks = (Disk(Path("/a"), interface="nvme"), Disk(Path("/b"), interface="nvme", serial="s1"))
    devices = values(arguments(VMSpec(disks=disks, forwards=()), TCG, {}), "-device")
    serials = [device.rpartition("serial=")[2] for device in devices if device.startswith("nvme")]
    assert serials == ["k3os0", "s1"]


def test_a_read_only_disk_stays_untouched():
    disks = (Disk(Path("/a"), readonly=True), Disk(Path("/b")))
    drives = values(arguments(VMSpec(disks=disks, forwards=()), TCG, {}), "-drive")
    assert ["readonly=on" in drive for drive in drives] == [True, False]


def test_a_comma_in_a_path_does_not_become_an_option():
    drives = values(arguments(VMSpec(disks=(Disk(Path("/a,b")),), forwards=()), TCG, {}), "-drive")
    assert "file=/a,,b" in drives[0]


def test_ports_are_forwarded_from_the_local_machine_only():
    command = arguments(VMSpec(forwards=(22, 6443)), TCG, {22: 4022, 6443: 4643})
    (network,) = values(command, "-netdev")
    assert "hostfwd=tcp:127.0.0.1:4022-:22" in network
    assert "hostfwd=tcp:127.0.0.1:4643-:6443" in network


def test_a_machine_on_a_tap_device_has_its_address_and_no_forwards():
    spec = VMSpec(tap=Tap("tap1", "52:54:00:00:00:01", "lab"))
    command = arguments(spec, TCG, {})
    assert values(command, "-netdev") == ["tap,id=net0,ifname=tap1,script=no,downscript=no"]
    devices = values(command, "-device")
    assert "virtio-net-pci,romfile=,netdev=net0,mac=52:54:00:00:00:01" in devices
    assert spec.forwarded == ()
    assert spec.launcher == ("ip", "netns", "exec", "lab")


def test_a_machine_without_a_namespace_starts_as_it_is():
    assert VMSpec().launcher == ()
    assert VMSpec(tap=Tap("tap1", "52:54:00:00:00:01")).launcher == ()


def test_a_machine_without_a_network_has_none():
    assert values(arguments(VMSpec(network=False, forwards=()), TCG, {}), "-netdev") == []


def test_uefi_gets_a_private_copy_of_its_variables():
    spec = VMSpec(uefi=True, forwards=())
    drives = values(arguments(spec, TCG, {}, Path("/tmp/vars.fd")), "-drive")
    assert "readonly=on" in drives[0]
    assert drives[1] == "if=pflash,format=raw,file=/tmp/vars.fd"
    with pytest.raises(UserError):
        arguments(spec, TCG, {})


@pytest.mark.parametrize(
    "spec", [VMSpec(arch="vax"), VMSpec(disks=(Disk(Path("/a"), interface="floppy"),))]
)
def test_what_cannot_be_is_a_clear_error_with_the_possible_values(spec):
    with pytest.raises(UserError) as error:
        arguments(spec, TCG, {22: 1})
    assert "use" in error.value.hint


def test_secure_boot_has_its_own_firmware_and_the_machine_that_it_insists_on():
    text = " ".join(arguments(VMSpec(secure_boot=True), ("-accel", "tcg"), {22: 1}, Path("/v")))
    assert "q35,smm=on" in text
    assert "OVMF_CODE_4M.secboot.fd" in text
    assert "property=secure,value=on" in text


def test_a_board_has_its_own_processor_and_an_sd_card():
    spec = VMSpec(
        kernel=Path("/u-boot.bin"),
        device_tree=Path("/pi.dtb"),
        disks=(Disk(Path("/card")),),
        forwards=(),
        arch="arm64",
        board="raspi3b",
    )
    command = arguments(spec, (*TCG[:2], "-cpu", "max"), {})
    assert values(command, "-machine") == ["raspi3b"]
    assert values(command, "-cpu") == []
    assert values(command, "-dtb") == ["/pi.dtb"]
    assert values(command, "-drive") == ["if=sd,format=raw,file=/card"]
    assert not any("pci" in word for word in command)
