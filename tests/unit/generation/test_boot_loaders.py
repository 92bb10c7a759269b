"""The boot loaders on a disk, compared with those of the running k3OS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k3os.generation import adding, boot_loaders, install_medium, layout, manifest
from k3os.image.loaders import LOADERS_OF, write_efi_image
from k3os.node.status import loaders
from k3os.system import digest

CORE, EFI = f"{layout.LOADERS}/core.img", f"{layout.LOADERS}/efi.img"


def release(medium: Path, version: str, *paths: str) -> install_medium.InstallMedium:
    """The medium with this version of k3OS and the checksums of these loaders."""
    path = medium / "k3os/system/current/manifest.json"
    sums = {each: digest.file_sha256(str(medium / each)) for each in paths}
    manifest = json.loads(path.read_text())
    old = medium / f"k3os/system/k3os/{manifest['k3os']}"
    old.rename(old.with_name(version))
    listed = {
        name.replace(f"k3os/{manifest['k3os']}/", f"k3os/{version}/"): digest
        for name, digest in manifest["sha256"].items()
    }
    path.write_text(json.dumps({**manifest, "k3os": version, "sha256": listed, "medium": sums}))
    return install_medium.read_medium(str(medium))


@pytest.fixture
def system(tmp_path: Path) -> str:
    path = tmp_path / "disk/k3os/system"
    path.mkdir(parents=True)
    return str(path)


def installed(
    what: install_medium.InstallMedium, system: str, *names: str, board: str = ""
) -> None:
    boot_loaders.record(system, what, names, board)
    adding.from_medium(what, system)


def told(system: str) -> str:
    return "\n".join(boot_loaders.lines(loaders(system, "")))


def test_what_was_installed_with_this_version_is_as_it_should_be(medium: Path, system: str) -> None:
    installed(release(medium, "0.2", CORE, EFI), system, "core.img", "efi.img")
    assert loaders(system, "") == {
        "installed": "0.2",
        "brought": "0.2",
        "outdated": False,
        "board": "",
        "kind": "loaders",
    }
    assert told(system) == ""


@pytest.mark.parametrize("name", ["core.img", "efi.img"])
def test_an_upgrade_that_brings_another_one_is_told_with_what_to_do(
    medium: Path, system: str, name: str
) -> None:
    installed(release(medium, "0.2", CORE, EFI), system, "core.img", "efi.img")
    (medium / layout.LOADERS / name).write_bytes(b"newer")
    adding.from_medium(release(medium, "0.3", CORE, EFI), system)
    assert told(system) == (
        "boot loader is of k3OS 0.2; this system brings another one, that of\n"
        "           0.3: boot its ISO and install with no_format and this config.yaml; the data "
        "stays"
    )


def test_an_upgrade_that_brings_the_same_one_is_not(medium: Path, system: str) -> None:
    installed(release(medium, "0.2", CORE, EFI), system, "core.img", "efi.img")
    adding.from_medium(release(medium, "0.3", CORE, EFI), system)
    assert told(system) == ""


def test_only_what_was_written_counts(medium: Path, system: str) -> None:
    installed(release(medium, "0.2", CORE, EFI), system, "efi.img")
    (medium / CORE).write_bytes(b"newer")
    adding.from_medium(release(medium, "0.3", CORE, EFI), system)
    assert told(system) == ""


def test_a_way_back_to_an_older_k3os_asks_for_no_older_loader(medium: Path, system: str) -> None:
    installed(release(medium, "0.3", CORE, EFI), system, "core.img", "efi.img")
    (medium / CORE).write_bytes(b"older")
    adding.from_medium(release(medium, "0.2", CORE, EFI), system)
    assert told(system) == ""


def test_a_disk_that_was_installed_before_there_was_a_record_is_told(
    medium: Path, system: str
) -> None:
    adding.from_medium(release(medium, "0.3", CORE, EFI), system)
    assert told(system).startswith("boot loader is older than this record; this system brings")


def test_the_loader_of_another_system_is_that_systems_matter(medium: Path, system: str) -> None:
    installed(release(medium, "0.3", CORE, EFI), system)
    assert loaders(system, "") == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 5, "k3os": []}', "not json"])
def test_a_record_that_is_none_is_no_record(medium: Path, system: str, text: str) -> None:
    adding.from_medium(release(medium, "0.3", CORE, EFI), system)
    Path(system, boot_loaders.RECORD).write_text(text)
    assert isinstance(told(system), str)


def test_an_older_release_says_nothing_of_its_loaders(medium: Path, system: str) -> None:
    adding.from_medium(install_medium.read_medium(str(medium)), system)
    assert loaders(system, "") == {}


def test_the_firmware_on_a_card_is_that_of_its_image(medium: Path, system: str) -> None:
    installed(release(medium, "0.2", EFI), system, "efi.img", board="rpi")
    assert told(system) == ""
    adding.from_medium(release(medium, "0.3", EFI), system)
    assert "device trees on the card are those of k3OS 0.2" in told(system)


def test_the_same_loaders_make_the_same_image_in_each_release(tmp_path: Path) -> None:
    from k3os.image.loaders import FAT_EPOCH

    programs = {name: name.encode() * 99 for name in LOADERS_OF["amd64"].efi_files.values()}
    for name in ("one", "two"):
        write_efi_image(programs, tmp_path / name, FAT_EPOCH, None)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.fixture
def below(system: str) -> Path:
    """The system below k3OS; its first stage is the generation's, as unpacked from a tarball."""
    base = Path(system).parents[1]
    sums = {}
    for path in ("sbin/init", "k3os/system/bin/busybox"):
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_text(path)
        sums[path] = digest.file_sha256(str(base / path))
    generation = base / "k3os/system/generations/1"
    generation.mkdir(parents=True)
    record = {"k3os": "0.2", "kernel": None, "medium": sums, manifest.FIRST_STAGE: sums}
    (generation / "manifest.json").write_text(json.dumps(record))
    return base


def of_first_stage(base: Path) -> str:
    system = f"{base}/k3os/system"
    return "\n".join(boot_loaders.lines(boot_loaders.compare(system, "generations/1", str(base))))


@pytest.mark.parametrize("key", [manifest.FIRST_STAGE, manifest.LOADER_SUMS])
@pytest.mark.parametrize("path", ["sbin/init", "k3os/system/bin/busybox"])
def test_a_first_stage_that_is_another_one_is_told(below: Path, path: str, key: str) -> None:
    """After an upgrade, whose manifest has other checksums, under its own key."""
    assert of_first_stage(below) == ""
    listed = below / "k3os/system/generations/1/manifest.json"
    record = json.loads(listed.read_text())
    sums = {**record.pop(manifest.FIRST_STAGE), path: "0" * 64, "core.img": "0" * 64}
    listed.write_text(json.dumps({**record, key: sums}))
    assert of_first_stage(below).startswith("first stage (/sbin/init of the system below) is not")


def test_a_first_stage_that_was_taken_away_is_nobodys_matter(below: Path) -> None:
    (below / "sbin/init").unlink()
    assert of_first_stage(below) == ""


def test_on_top_of_another_system_there_is_no_loader_of_ours(below: Path) -> None:
    manifest = below / "k3os/system/generations/1/manifest.json"
    manifest.write_text(json.dumps({"k3os": "0.2", "loaders": {"core.img": "0" * 64}}))
    assert of_first_stage(below) == ""


@pytest.mark.parametrize("value", [None, 5, "text", [], [1], {"a": 1}])
def test_a_manifest_with_nonsense_brings_nothing(value: object) -> None:
    assert manifest.loader_sums({"medium": value}) == {}
    assert set(manifest.loader_sums({"first_stage": value})) <= {"a"}
