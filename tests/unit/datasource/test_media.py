"""Cloud data on media, which are directories here."""

from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pytest

from k3os.datasource import beside, cdrom, configdrive, media, nocloud, own_media, platforms
from k3os.datasource.found import LeftOut
from k3os.datasource.query import Query
from k3os.datasource.search import search
from k3os.errors import UserError
from k3os.system import blockdev
from k3os.system.blockdev import FileSystem

from .conftest import KEY, OTHER_KEY


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.mark.parametrize(
    "keys",
    [
        f"public-keys: [{KEY}, {OTHER_KEY}]",
        f"public-keys:\n  mine: {KEY}\n  other: {OTHER_KEY}",
        f"public-keys:\n  0: {{openssh-key: {KEY}}}\n  1: {{openssh-key: {OTHER_KEY}}}",
        f"public-keys: |\n  {KEY}\n  {OTHER_KEY}",
    ],
)
def test_nocloud_gives_the_hostname_and_the_keys_in_any_writing(tmp_path: Path, keys: str) -> None:
    put(tmp_path, "meta-data", f"instance-id: i-1\nlocal-hostname: node1\n{keys}\n")
    put(tmp_path, "user-data", "#cloud-config\n")
    found = nocloud.read(str(tmp_path))
    assert found is not None
    assert (found.hostname, found.ssh_keys) == ("node1", [KEY, OTHER_KEY])
    assert found.userdata == b"#cloud-config\n"


def test_a_broken_meta_data_is_an_error_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, "meta-data", "local-hostname: [\n")
    with pytest.raises(UserError, match="meta-data:2:1"):
        nocloud.read(str(tmp_path))


LARGE = "#" * ((1 << 20) + 100_000)


@pytest.mark.parametrize("userdata", ["hostname: x\n", LARGE], ids=["fine", "large"])
@pytest.mark.parametrize("metadata", ["fine", "broken", "large"])
@pytest.mark.parametrize("kind", ["nocloud", "configdrive"])
def test_a_part_that_cannot_be_read_does_not_hide_the_other(
    tmp_path: Path, kind: str, metadata: str, userdata: str
) -> None:
    read, first, second, good = (
        (nocloud.read, "meta-data", "user-data", "local-hostname: node1\n")
        if kind == "nocloud"
        else (
            configdrive.read,
            "openstack/latest/meta_data.json",
            "openstack/latest/user_data",
            '{"hostname": "node1"}',
        )
    )
    put(tmp_path, first, {"fine": good, "broken": "[", "large": LARGE}[metadata])
    put(tmp_path, second, userdata)
    name = "meta-data" if kind == "nocloud" else "meta_data.json"
    wrong = [name] if metadata != "fine" else []
    wrong += [second] if userdata == LARGE else []
    if len(wrong) == 2:
        with pytest.raises(UserError, match=f"{name}.*{second}"):
            read(str(tmp_path))
        return
    found = read(str(tmp_path))
    assert found is not None
    assert found.hostname == ("node1" if metadata == "fine" else "")
    assert found.userdata.decode() == ("" if userdata == LARGE else userdata)
    assert len(found.problems) == len(wrong)
    for problem, part in zip(found.problems, wrong, strict=True):
        assert part in problem


def test_a_config_drive_gives_what_openstack_says(tmp_path: Path) -> None:
    put(
        tmp_path,
        "openstack/latest/meta_data.json",
        f'{{"hostname": "node1.novalocal", "uuid": "x", "public_keys": {{"mine": "{KEY}\\n"}}}}',
    )
    put(tmp_path, "openstack/latest/user_data", "hostname: other\n")
    found = configdrive.read(str(tmp_path))
    assert found is not None
    assert (found.hostname, found.ssh_keys) == ("node1.novalocal", [KEY])
    assert found.userdata == b"hostname: other\n"


@pytest.mark.parametrize("text", ["{half", "[]", '{"public_keys": 5}'])
def test_a_meta_data_json_of_another_shape_is_an_error(tmp_path: Path, text: str) -> None:
    put(tmp_path, "openstack/latest/meta_data.json", text)
    with pytest.raises(UserError, match=r"meta_data\.json"):
        configdrive.read(str(tmp_path))


@pytest.mark.parametrize("name", ["user-data", "config", "config.yaml"])
def test_a_cd_with_any_of_three_names_is_used(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, "hostname: node1\n")
    found = cdrom.read(str(tmp_path))
    assert found is not None
    assert found.userdata == b"hostname: node1\n"


def test_a_medium_without_any_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    for read in (cdrom.read, nocloud.read, configdrive.read):
        assert read(str(tmp_path)) is None


def test_a_link_on_a_medium_does_not_lead_out_of_it(tmp_path: Path) -> None:
    put(tmp_path, "secret", "root:x\n")
    (tmp_path / "cd").mkdir()
    (tmp_path / "cd/user-data").symlink_to(tmp_path / "secret")
    (tmp_path / "cd/config").symlink_to("../secret")
    assert cdrom.read(str(tmp_path / "cd")) is None
    put(tmp_path / "cd", "inside", "hostname: x\n")
    (tmp_path / "cd/config.yaml").symlink_to("/inside")
    found = cdrom.read(str(tmp_path / "cd"))
    assert found is not None
    assert found.userdata == b"hostname: x\n"


def test_a_file_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, "config", "x" * ((1 << 20) + 1))
    with pytest.raises(UserError, match="config has 1048577 bytes, more than the 1048576"):
        cdrom.read(str(tmp_path))


@pytest.mark.parametrize(
    ("label", "module", "metadata", "userdata"),
    [
        ("cidata", nocloud, "meta-data", "user-data"),
        ("config-2", configdrive, *beside.KNOWN_FILES[:1:-1]),
    ],
)
def test_what_the_boot_copied_from_its_own_stick_is_found_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    label: str,
    module: ModuleType,
    metadata: str,
    userdata: str,
) -> None:
    stick, copy = tmp_path / "stick", tmp_path / "copy"
    put(stick, metadata, '{"hostname": "of-the-stick"}')
    put(stick, userdata, "#" * ((1 << 20) + 5))
    put(stick, "large-and-unknown", "x")
    beside.copy_known(str(stick), str(copy / label))
    monkeypatch.setattr(beside, "COPIES", str(copy))
    monkeypatch.setattr(media, "block_devices", list)
    assert not (copy / label / "large-and-unknown").exists()
    assert (copy / label / userdata).stat().st_mode & 0o777 == 0o600
    found = module.fetch(Query())
    assert found.hostname == "of-the-stick"
    assert "has 1048581 bytes" in found.problems[0]


def test_only_media_that_are_not_ours_and_not_in_use_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = {"sr0": "CIDATA", "sda": "", "sda1": "K3OS_STATE", "sdb1": "data", "vda": "K3OS"}

    def probe(device: str) -> FileSystem:
        name = device.removeprefix("/dev/")
        if name == "sr1":
            raise OSError(123, "No medium found")
        return FileSystem(device, "ext4" if labels[name] else "", labels[name])

    monkeypatch.setattr(media, "block_devices", lambda: [*labels, "sr1"])
    monkeypatch.setattr(media, "probe", probe)
    monkeypatch.setattr(media, "mounted", lambda: {"/dev/sdb1"})
    assert [each.device for each in media.file_systems()] == ["/dev/sr0"]
    assert [each.device for each in media.file_systems("cidata")] == ["/dev/sr0"]
    assert media.file_systems("config-2") == []
    assert media.file_systems("", ("udf", "iso9660")) == []


class Sysfs:
    """Block devices as sysfs shows them; everything about them is a file below a directory."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.mounts = root / "mounts"
        self.mounts.write_text("tmpfs / tmpfs rw 0 0\n")
        (root / "block").mkdir()
        monkeypatch.setattr(blockdev, "SYS_BLOCK", str(root / "block"))

    def add(self, name: str, path: str = "pci0000:00", **attributes: str) -> None:
        """path: of the device it belongs to; attributes: its files; removable and ro are 0 by
        default."""
        disk, _, partition = name.partition("+")
        place = self.root / "devices" / path / disk
        for file, text in {"removable": "0", "ro": "0", **attributes}.items():
            put(place, file.replace("_", "/"), f"{text}\n")
        (self.root / "block" / disk).symlink_to(place)
        if partition:
            put(place / partition, "partition", "1\n")
            (self.root / "block" / partition).symlink_to(place / partition)

    def is_own(self, name: str) -> bool:
        return own_media.is_own(f"/dev/{name}", str(self.mounts))


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sysfs:
    return Sysfs(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("name", "path", "attributes", "own"),
    [
        ("sr0", "pci0000:00/ata1/host1", {"removable": "1"}, True),
        ("sr1", "pci0000:00/virtio3/host2", {}, True),  # a CD drive, even if it does not say so
        ("vda", "pci0000:00/virtio1", {}, False),  # a pod's volume on most clouds
        ("vda", "pci0000:00/virtio1", {"ro": "1"}, True),
        ("vda+vda1", "pci0000:00/virtio1", {"ro": "1"}, True),
        ("sda", "pci0000:00/ata1/host1/target1:0:0/1:0:0:0", {}, False),
        ("sda+sda1", "pci0000:00/ata1/host1/target1:0:0/1:0:0:0", {}, False),
        ("nvme1n1", "pci0000:00/nvme/nvme1", {}, False),
        ("sdb", "pci0000:00/0000:00:14.0/usb1/1-2/host3", {"removable": "1"}, True),
        ("sdb+sdb1", "pci0000:00/0000:00:14.0/usb1/1-2/host3", {}, True),  # a disk behind USB
        ("mmcblk0+mmcblk0p3", "platform/mmc0", {"device_type": "SD"}, True),
        ("mmcblk1", "platform/mmc1", {"device_type": "MMC"}, False),
        ("dm-3", "virtual", {}, False),
        # a LUN may claim anything about itself
        ("sdc", "platform/host4/session1/target4:0:0", {"removable": "1", "ro": "1"}, False),
        ("sdc", "pci0000:00/host5/rport-5:0-1/target5:0:1", {"removable": "1"}, False),
        ("nvme2n1", "virtual/nvme-fabrics/ctl/nvme2", {"ro": "1"}, False),
        # and a server about the kernel's own devices: NBD, multipath to a LUN or an NVMe target
        ("nbd0", "virtual/block", {"ro": "1"}, False),
        ("dm-3", "virtual/block", {"ro": "1"}, False),
        ("nvme3n1", "virtual/nvme-subsystem/nvme-subsys3", {"ro": "1"}, False),
        ("loop7", "virtual/block", {"ro": "1"}, False),
        ("sdd", "platform/vhci_hcd.0/usb3/3-1/host6", {"removable": "1"}, False),
    ],
)
def test_a_medium_is_the_machines_own_when_no_pod_can_have_written_it(
    sysfs: Sysfs, name: str, path: str, attributes: dict[str, str], own: bool
) -> None:
    sysfs.add(name, path, **attributes)
    assert sysfs.is_own(name.rpartition("+")[2]) is own


def test_a_partition_of_the_disk_that_the_system_runs_from_is_its_own(sysfs: Sysfs) -> None:
    for name in ("vda+vda3", "vdb+vdb3"):
        sysfs.add(name)
    sysfs.mounts.write_text("tmpfs / tmpfs rw 0 0\n/dev/vda3 /.base ext4 ro 0 0\n")
    assert sysfs.is_own("vda3")
    assert not sysfs.is_own("vdb3")
    sysfs.add("dm-0", "virtual/block")
    sysfs.mounts.write_text("/dev/dm-0 /.base ext4 ro 0 0\n")
    assert sysfs.is_own("dm-0")


@pytest.fixture
def one_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/dev/vdb, labelled cidata, whose contents are a directory."""
    there = FileSystem("/dev/vdb", "ext4", "cidata")
    monkeypatch.setattr(media, "file_systems", lambda label, kinds: [there])
    monkeypatch.setattr(media, "shown", lambda file_system: nullcontext(str(tmp_path)))
    put(tmp_path, "user-data", "hostname: x\n")
    return tmp_path


@pytest.mark.parametrize("own", [True, False])
def test_auto_reads_the_machines_own_media_and_who_names_a_source_any(
    one_disk: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    monkeypatch.setattr(media, "is_own", lambda device: own)
    assert nocloud.fetch(Query()).userdata == b"hostname: x\n"
    if own:
        assert nocloud.fetch(Query(own_media=True)).userdata == b"hostname: x\n"
        return
    with pytest.raises(LeftOut, match=r"/dev/vdb .*is not read with `auto`.*name its source"):
        nocloud.fetch(Query(own_media=True))


def test_who_looks_for_a_medium_hears_of_one_that_is_left_out(
    one_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "is_own", lambda device: False)
    said: list[str] = []
    (answer,) = search(["nocloud"], said.append, by_auto=platforms.by_auto(["auto"], str(one_disk)))
    assert (answer.found, answer.is_broken) == (None, False)
    assert "/dev/vdb" in said[0]
    (answer,) = search(["nocloud"], said.append, by_auto=platforms.by_auto(["auto", "nocloud"]))
    assert answer.found is not None


def test_a_header_that_nobody_thought_of_costs_only_its_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def probe(device: str) -> FileSystem:
        if device == "/dev/vda":
            raise OverflowError("Python int too large to convert to C long")
        return FileSystem(device, "iso9660", "cidata")

    said: list[str] = []
    monkeypatch.setattr(media, "block_devices", lambda: ["vda", "vdb"])
    monkeypatch.setattr(media, "probe", probe)
    monkeypatch.setattr(media, "mounted", set)
    monkeypatch.setattr(media, "say", said.append)
    assert [each.device for each in media.file_systems("cidata")] == ["/dev/vdb"]
    assert "/dev/vda is left out: OverflowError" in said[0]


def test_the_instance_id_is_that_of_cloud_init(tmp_path: Path) -> None:
    put(tmp_path / "cd", "meta-data", "instance-id: iid-7\nlocal-hostname: x\n")
    put(tmp_path / "drive", "openstack/latest/meta_data.json", '{"uuid": "8-8", "name": "x"}')
    found = nocloud.read(str(tmp_path / "cd")), configdrive.read(str(tmp_path / "drive"))
    assert [each.instance for each in found if each] == ["iid-7", "8-8"]
