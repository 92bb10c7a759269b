"""What a remastered ISO contains, and what is refused; booting is tested in VMs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from k3os.cli.main import main
from k3os.generation.signature import read_keys, verify
from k3os.system.blockdev import probe
from k3os.system.run import run
from tests.unit.image.conftest import files_of, manifest_of

K3S = "#!/bin/sh\necho 'k3s version v2.2.2+k3s1 (abc)'\n"


@pytest.fixture
def k3s(tmp_path: Path) -> Path:
    path = tmp_path / "my-k3s"
    path.write_text(K3S)
    path.chmod(0o755)
    return path


def remaster(iso: Path, target: Path, *options: str) -> int:
    return main(["remaster", str(iso), str(target), *options])


def boot_records(iso: Path) -> list[bytes]:
    """The boot records, except what depends on the ISO's size."""
    reports = ["-report_el_torito", "plain", "-report_system_area", "plain"]
    lines = run(["xorriso", "-indev", str(iso), *reports]).splitlines()
    kept = (b"El Torito img ", b"System area", b"GPT partition name", b"GPT type", b"GPT CRC")
    return [line for line in lines if line.startswith(kept)]


def test_without_a_change_the_bytes_are_the_same(tiny_iso: Path, tmp_path: Path) -> None:
    assert remaster(tiny_iso, tmp_path / "same.iso") == 0
    assert (tmp_path / "same.iso").read_bytes() == tiny_iso.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["same.iso"]


def test_two_isos_that_differ_have_different_uuids(tiny_iso: Path, tmp_path: Path) -> None:
    """A machine recognizes the ISO that it booted from by its UUID."""
    (tmp_path / "my.yaml").write_text("hostname: x\n")
    assert remaster(tiny_iso, tmp_path / "config.iso", "--config", str(tmp_path / "my.yaml")) == 0
    assert remaster(tiny_iso, tmp_path / "words.iso", "--cmdline", "k3os.debug") == 0
    paths = (tiny_iso, tmp_path / "config.iso", tmp_path / "words.iso")
    uuids = [probe(str(path)).uuid for path in paths]
    assert len({*uuids}) == 3
    assert all(uuid.startswith("2023-11-14-") for uuid in uuids)


def test_all_changes_are_in_it_and_the_signed_loaders_stay(
    tiny_iso: Path, tmp_path: Path, k3s: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, archive = tmp_path / "my.yaml", tmp_path / "images.tar.zst"
    config.write_text("hostname: x\n")
    archive.write_bytes(b"images")
    options = ["--config", str(config), "--k3s", str(k3s), "--airgap", str(archive)]
    options += ["--cmdline", "k3os.token=hidden k3os.debug"]
    made = []
    for name in ("one.iso", "two.iso"):
        assert remaster(tiny_iso, tmp_path / name, *options) == 0
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    said = capsys.readouterr().out
    assert "k3s: v1.1.1+k3s1 -> v2.2.2+k3s1" in said
    assert "kernel parameters: k3os.token k3os.debug" in said
    assert "hidden" not in said
    old = files_of(tiny_iso, tmp_path / "old")
    new = files_of(tmp_path / "one.iso", tmp_path / "new")
    system = new / "k3os/system"
    assert (system / "config.yaml").read_text() == "hostname: x\n"
    assert (system / "config.yaml").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "one.iso").stat().st_mode & 0o777 == 0o600
    assert (system / "airgap/images.tar.zst").read_bytes() == b"images"
    assert (system / "current/k3s/k3s").read_text() == K3S
    assert (system / "current/k3s/k3s").stat().st_mode & 0o111
    assert [path.name for path in (system / "k3s").iterdir()] == ["v2.2.2+k3s1"]
    manifest, before = manifest_of(new), manifest_of(old)
    sums = manifest.pop("sha256")
    assert sums["k3s/v2.2.2+k3s1/k3s"] == hashlib.sha256(K3S.encode()).hexdigest()  # type: ignore[index]
    assert {*sums} - {*before.pop("sha256")} == {"k3s/v2.2.2+k3s1/k3s"}  # type: ignore[misc, call-overload]
    sizes, _ = manifest.pop("size"), before.pop("size")
    assert sizes["k3s/v2.2.2+k3s1/k3s"] == len(K3S)  # type: ignore[index]
    assert {*sizes} == {*sums}  # type: ignore[misc, call-overload]
    medium, old_medium = manifest.pop("medium"), before.pop("medium")
    assert {*medium} - {*old_medium} == {"k3os/system/airgap/images.tar.zst"}  # type: ignore[misc, call-overload]
    for path, digest in medium.items():  # type: ignore[attr-defined]
        assert hashlib.sha256((new / path).read_bytes()).hexdigest() == digest
    assert manifest == {**before, "k3s": "v2.2.2+k3s1"}
    for name in ("boot.img", "core.img", "efi.img"):
        path = f"boot/grub/k3os/{name}"
        assert (new / path).read_bytes() == (old / path).read_bytes()
    assert boot_records(tmp_path / "one.iso") == boot_records(tiny_iso)
    assert len(boot_records(tiny_iso)) >= 9


def test_a_remastered_iso_can_be_remastered_again(
    tiny_iso: Path, tmp_path: Path, k3s: Path
) -> None:
    assert remaster(tiny_iso, tmp_path / "one.iso", "--k3s", str(k3s), "--cmdline", "a=b") == 0
    assert remaster(tmp_path / "one.iso", tmp_path / "two.iso") == 0
    assert (tmp_path / "two.iso").read_bytes() == (tmp_path / "one.iso").read_bytes()


def test_what_was_changed_can_be_signed_anew_and_keeps_no_old_signature(
    tiny_iso: Path, tmp_path: Path, k3s: Path
) -> None:
    key = tmp_path / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    options = ["--k3s", str(k3s), "--sign-key", str(key)]
    assert remaster(tiny_iso, tmp_path / "signed.iso", *options) == 0
    found = files_of(tmp_path / "signed.iso", tmp_path / "signed") / "k3os/system/current"
    manifest, signature = found / "manifest.json", found / "manifest.json.sig"
    trusted = read_keys([f"{key}.pub"])
    verify(manifest.read_bytes(), signature.read_bytes(), trusted, "the ISO")
    k3s.write_text(K3S.replace("2.2.2", "2.2.3"))
    assert remaster(tmp_path / "signed.iso", tmp_path / "unsigned.iso", "--k3s", str(k3s)) == 0
    found = files_of(tmp_path / "unsigned.iso", tmp_path / "unsigned") / "k3os/system/current"
    assert not (found / "manifest.json.sig").exists()


def test_a_signature_stays_as_long_as_nothing_that_was_signed_changes(
    tiny_iso: Path, tmp_path: Path
) -> None:
    key, config, archive = (tmp_path / name for name in ("key", "my.yaml", "images.tar"))
    config.write_text("hostname: x\n")
    archive.write_bytes(b"images")
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    assert remaster(tiny_iso, tmp_path / "signed.iso", "--sign-key", str(key)) == 0
    kept = {"--config": str(config), "--cmdline": "a=b", "--airgap": str(archive)}
    for option, value in kept.items():
        iso = tmp_path / f"{option}.iso"
        assert remaster(tmp_path / "signed.iso", iso, option, value) == 0
        found = files_of(iso, tmp_path / option) / "k3os/system/current"
        assert (found / "manifest.json.sig").exists() == (option == "--config")


def test_what_grub_mkrescue_added_by_hand_is_replaced(tiny_iso: Path, tmp_path: Path) -> None:
    """An ISO made by the manual steps has other boot loaders, too; the command restores ours."""
    root = files_of(tiny_iso, tmp_path / "iso")
    run(["chmod", "-R", "u+w", str(root)])
    by_hand = tmp_path / "by-hand.iso"
    run(["grub-mkrescue", "-o", str(by_hand), str(root), "-V", "K3OS"])
    assert remaster(by_hand, tmp_path / "again.iso") == 0
    assert (tmp_path / "again.iso").read_bytes() == tiny_iso.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "bad.yaml"], "--config: the config.yaml has errors"),
        (["--config", "none.yaml"], "--config: the config.yaml has errors"),
        (["--cmdline", "k3os.sysctl=5 hostname=a_b"], "--cmdline: the kernel parameters have"),
        (["--cmdline", "k3os.token=a'b"], "cannot go through GRUB"),
        (["--k3s", "bad.yaml"], "--k3s: "),
        (["--airgap", "bad.yaml"], "--airgap: bad.yaml is not an image archive"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    tiny_iso: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("hostname: [a\n")
    (tmp_path / "old.iso").write_text("old")
    assert remaster(tiny_iso, Path("old.iso"), *options) == 1
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml", "old.iso"]
    assert (tmp_path / "old.iso").read_text() == "old"


def test_an_iso_is_not_written_over_itself(
    tiny_iso: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link.iso").symlink_to(tiny_iso)
    assert remaster(tiny_iso, tmp_path / "link.iso") == 1
    assert "would replace the one it is made of" in capsys.readouterr().err


def test_what_is_no_iso_of_k3os_or_a_damaged_one_is_refused(
    tiny_iso: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").write_bytes(bytes(100_000))
    assert remaster(tmp_path / "other", tmp_path / "new.iso") == 1
    assert "is not a k3OS ISO" in capsys.readouterr().err
    assert remaster(tmp_path / "missing.iso", tmp_path / "new.iso") == 1
    assert "No such file" in capsys.readouterr().err
    damaged = bytearray(tiny_iso.read_bytes())
    at = damaged.index(hashlib.sha256(b"initrd").digest() * 2)
    damaged[at + 5] ^= 1
    (tmp_path / "damaged.iso").write_bytes(damaged)
    assert remaster(tmp_path / "damaged.iso", tmp_path / "new.iso") == 1
    assert "initrd is damaged" in capsys.readouterr().err
    assert not (tmp_path / "new.iso").exists()


@pytest.mark.parametrize("options", [(), ("--cmdline", "k3os.k3s_args=--no-deploy=traefik")])
def test_a_configuration_that_the_new_k3s_would_not_take_is_refused(
    tiny_iso: Path,
    tmp_path: Path,
    k3s: Path,
    options: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also the ISO's own configuration, which was valid for its old k3s."""
    (tmp_path / "old.yaml").write_text("k3os: {k3s_args: [--no-deploy=traefik]}\n")
    given = options or ("--config", str(tmp_path / "old.yaml"))
    assert remaster(tiny_iso, tmp_path / "one.iso", *given) == 0
    assert "does not have" not in capsys.readouterr().out
    assert remaster(tmp_path / "one.iso", tmp_path / "two.iso", "--k3s", str(k3s)) == (not options)
    if not options:
        assert "k3s v2.2.2+k3s1 does not have --no-deploy" in capsys.readouterr().out
    assert (tmp_path / "two.iso").exists() == bool(options)
    target = tmp_path / "three.iso"
    assert remaster(tiny_iso, target, *given, "--k3s", str(k3s)) == 1
    assert not target.exists()
