"""What is read from media; here they are directories."""

from pathlib import Path
from types import ModuleType

import pytest

from k3os.datasource import beside, cdrom, configdrive, media, nocloud
from k3os.errors import UserError
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
    found = module.fetch(None)
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
