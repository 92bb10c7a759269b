"""An upgrade from a release to a disk, both of them directories: plan, write, prune, roll back."""

import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.generation.installed import read_installed
from k3os.node.upgrade import offered
from k3os.upgrade import perform
from k3os.upgrade.offer import DirectoryOffer, TarOffer, TreeOffer, opened
from k3os.upgrade.plan import Part, make_plan
from tests.unit.generation.conftest import lay_down, publish

PLENTY = 1 << 40


def quiet(*_: object) -> None:
    """Ignores lines and progress."""


def parts_of(offer, *names: str) -> dict[str, Part]:
    return {
        name: Part(
            offer.manifest.versions[name],
            offer.manifest.of(name),
            lambda file, path: offer.write(file, path, quiet),
        )
        for name in names or offer.manifest.versions
    }


def plan(system: Path, offer, *names: str, running: str = "generations/1", **options):
    installed = read_installed(str(system), running)
    options = {"room": PLENTY, **options}
    parts = parts_of(offer, *names)
    return make_plan(installed, parts, arch="amd64", created=5, **options), installed


def upgrade(system: Path, offer, *names: str, **options):
    decided, installed = plan(system, offer, *names, **options)
    perform.perform(decided, installed, quiet)
    return decided


def versions(system: Path, link: str) -> dict[str, str]:
    """The versions a link points to, according to the contents of the files that would boot."""
    found = {}
    for name, file in (("kernel", "vmlinuz"), ("k3os", "rootfs.squashfs"), ("k3s", "k3s")):
        found[name] = (system / link / name / file).read_text().split()[1]
    return found


def tree(system: Path) -> dict[str, str]:
    """Every path below a directory with its contents or link target."""
    found = {}
    for path in sorted(system.rglob("*")):
        key = str(path.relative_to(system))
        if path.is_symlink():
            found[key] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[key] = path.read_text()
    return found


OLD = {"kernel": "6.12.1", "k3os": "0.1.0", "k3s": "v1.33.1+k3s1"}
NEW = {"kernel": "6.12.9", "k3os": "0.2.0", "k3s": "v1.34.0+k3s1"}


def test_an_upgrade_makes_the_new_generation_current_and_the_old_one_previous(system, release):
    decided = upgrade(system, DirectoryOffer(str(release), "amd64", "here"))
    assert versions(system, "current") == NEW
    assert versions(system, "previous") == OLD
    assert decided.reboot
    manifest = json.loads((system / "current" / "manifest.json").read_text())
    assert (manifest["generation"], manifest["k3os"], manifest["k3s"]) == (2, "0.2.0", NEW["k3s"])


def test_only_what_is_new_is_written(system, release):
    offer = DirectoryOffer(str(release), "amd64", "here")
    decided, _ = plan(system, offer, "k3s")
    assert [step.path for step in decided.steps] == ["k3s/v1.34.0+k3s1/k3s"]
    assert not decided.reboot
    upgrade(system, offer, "k3s")
    assert versions(system, "current") == {**OLD, "k3s": NEW["k3s"]}


def test_the_same_versions_need_nothing(system, release):
    offer = DirectoryOffer(str(release), "amd64", "here")
    upgrade(system, offer)
    before = tree(system)
    decided, _ = plan(system, offer, running="generations/2")
    assert decided.changed == ()
    assert decided.steps == ()
    assert tree(system) == before


def test_a_third_version_removes_the_first_once_the_second_runs(system, release, tmp_path):
    upgrade(system, DirectoryOffer(str(release), "amd64", "here"))
    (tmp_path / "third").mkdir()
    third = publish(tmp_path / "third", kernel="6.12.9", k3os="0.3.0", k3s="v1.34.0+k3s1")
    upgrade(system, DirectoryOffer(str(third), "amd64", "here"), running="generations/2")
    assert sorted(path.name for path in (system / "k3os").iterdir()) == ["0.2.0", "0.3.0"]
    assert [path.name for path in (system / "kernel").iterdir()] == ["6.12.9"]
    assert [path.name for path in (system / "k3s").iterdir()] == ["v1.34.0+k3s1"]
    assert sorted(path.name for path in (system / "generations").iterdir()) == ["2", "3"]
    assert versions(system, "previous") == NEW


def test_what_never_ran_is_not_what_one_goes_back_to(system, release, tmp_path):
    """After two upgrades without a boot in between, `previous` is what runs."""
    upgrade(system, DirectoryOffer(str(release), "amd64", "here"))
    (tmp_path / "third").mkdir()
    third = publish(tmp_path / "third", kernel="6.12.9", k3os="0.3.0", k3s="v1.34.0+k3s1")
    upgrade(system, DirectoryOffer(str(third), "amd64", "here"), running="generations/1")
    assert versions(system, "previous") == OLD
    assert sorted(path.name for path in (system / "k3os").iterdir()) == ["0.1.0", "0.3.0"]


def test_a_version_with_other_content_never_overwrites_what_boots(system, tmp_path):
    (tmp_path / "rebuilt").mkdir()
    rebuilt = publish(tmp_path / "rebuilt", k3os="0.1.0")
    image = rebuilt / "k3os-rootfs-amd64.squashfs"
    image.write_text("k3os rebuilt rootfs.squashfs")
    manifest = json.loads((rebuilt / "k3os-manifest-amd64.json").read_text())
    import hashlib

    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    manifest["sha256"]["k3os/0.1.0/rootfs.squashfs"] = digest
    (rebuilt / "k3os-manifest-amd64.json").write_text(json.dumps(manifest))
    upgrade(system, DirectoryOffer(str(rebuilt), "amd64", "here"))
    assert versions(system, "previous") == OLD
    assert (system / "current/k3os/rootfs.squashfs").read_text() == "k3os rebuilt rootfs.squashfs"


def test_a_damaged_file_stops_before_the_switch(system, release):
    (release / "k3os-initrd-amd64").write_text("something else")
    with pytest.raises(UserError, match="initrd is damaged"):
        upgrade(system, DirectoryOffer(str(release), "amd64", "here"))
    assert versions(system, "current") == OLD
    assert not (system / "previous").exists()


def test_an_interrupted_upgrade_is_finished_by_the_next_one(system, release, monkeypatch):
    offer = DirectoryOffer(str(release), "amd64", "here")
    written = []

    def power_cut(self, file, path, progress):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write(self, file, path, progress)

    write = DirectoryOffer.write
    monkeypatch.setattr(DirectoryOffer, "write", power_cut)
    with pytest.raises(KeyboardInterrupt):
        upgrade(system, offer)
    assert versions(system, "current") == OLD
    monkeypatch.setattr(DirectoryOffer, "write", write)
    decided = upgrade(system, offer)
    assert len(decided.steps) == 2  # complete files are not written again
    assert versions(system, "current") == NEW


def test_half_a_generation_counts_for_nothing(system, release):
    (system / "generations" / "2").mkdir()
    (system / "generations" / "2" / "k3os").symlink_to("../../k3os/0.2.0")
    upgrade(system, DirectoryOffer(str(release), "amd64", "here"))
    assert versions(system, "current") == NEW
    assert not (system / "generations" / "2").exists()


def test_rollback_exchanges_both_and_back_again(system, release):
    upgrade(system, DirectoryOffer(str(release), "amd64", "here"))
    perform.rollback(read_installed(str(system)), quiet)
    assert (versions(system, "current"), versions(system, "previous")) == (OLD, NEW)
    perform.rollback(read_installed(str(system)), quiet)
    assert (versions(system, "current"), versions(system, "previous")) == (NEW, OLD)


def test_there_is_no_way_back_from_the_first_generation(system):
    with pytest.raises(UserError, match="no previous generation"):
        perform.rollback(read_installed(str(system)), quiet)


def test_too_little_space_is_said_before_anything_is_written(system, release):
    before = tree(system)
    with pytest.raises(UserError, match=r"not enough space: 34 MB are needed.* MB are missing"):
        plan(system, DirectoryOffer(str(release), "amd64", "here"), room=1000)
    assert tree(system) == before


def test_an_older_version_needs_to_be_allowed(system, tmp_path):
    (tmp_path / "older").mkdir()
    older = DirectoryOffer(str(publish(tmp_path / "older", k3os="0.0.9")), "amd64", "here")
    with pytest.raises(UserError, match=r"k3os 0\.0\.9 is older than 0\.1\.0"):
        plan(system, older)
    upgrade(system, older, allow_downgrade=True)
    assert versions(system, "current")["k3os"] == "0.0.9"


def test_a_tarball_and_a_tree_offer_the_same_as_a_directory(tmp_path, system):
    root = tmp_path / "tree"
    lay_down(root / "k3os/system", 1, k3os="0.2.0", k3s="v1.34.0+k3s1")
    (root / "k3os/system/current").symlink_to("generations/1")
    with tarfile.open(tmp_path / "k3os-rootfs-amd64.tar.gz", "w:gz") as archive:
        archive.add(root, "k3os-rootfs-amd64")
    copy = shutil.copytree(system, tmp_path / "copy", symlinks=True)
    upgrade(system, TreeOffer(str(root), "a tree"))
    upgrade(copy, TarOffer(str(tmp_path / "k3os-rootfs-amd64.tar.gz"), "a tarball"))
    assert versions(system, "current") == {**OLD, "k3os": "0.2.0", "k3s": "v1.34.0+k3s1"}
    first, second = tree(system), tree(copy)
    assert first == second


def test_what_is_no_release_is_named(tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    for source in (tmp_path, tmp_path / "note.txt", tmp_path / "missing"):
        with pytest.raises(UserError) as caught:
            with opened(str(source), "amd64", str(tmp_path), quiet, quiet):
                raise AssertionError("it was opened")
        assert str(source) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": {"k3os/../../etc/passwd": "0" * 64}},
        {"sha256": {"k3os/0.2.0/other": "0" * 64}},
        {"sha256": {"k3os/0.2.0/rootfs.squashfs": "zz"}},
        {"k3os": "../../../etc"},
        {"sha256": None},
    ],
)
def test_a_manifest_that_points_elsewhere_is_refused(release, change):
    path = release / "k3os-manifest-amd64.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match="is not the manifest"):
        DirectoryOffer(str(release), "amd64", "here")


def test_a_new_k3s_waits_for_the_boot_that_a_new_k3os_waits_for(system, release, tmp_path):
    """Otherwise it would be started by a k3OS of another generation."""
    upgrade(system, DirectoryOffer(str(release), "amd64", "here"))
    (tmp_path / "newer").mkdir()
    newer = DirectoryOffer(str(publish(tmp_path / "newer", k3s="v1.35.0+k3s1")), "amd64", "here")
    assert plan(system, newer, "k3s", running="generations/1")[0].reboot
    assert not plan(system, newer, "k3s", running="generations/2")[0].reboot


def test_a_generation_says_which_boot_loaders_its_k3os_brings(system, tmp_path):
    def upgraded(release, *names: str) -> object:
        offer = DirectoryOffer(str(release), "amd64", "here")
        installed = read_installed(str(system), "generations/1")
        parts = offered(offer, names or ["kernel", "k3os", "k3s"])
        decided = make_plan(installed, parts, arch="amd64", created=5, room=PLENTY)
        perform.perform(decided, installed, quiet)
        return json.loads((system / "current/manifest.json").read_text()).get("loaders")

    old = publish(tmp_path / "old", kernel="6.13", k3os="0.2.9", k3s="v1.34.0+k3s1")
    assert upgraded(old) is None
    new = publish(tmp_path / "new", kernel="6.13", k3os="0.3.0", k3s="v1.34.0+k3s1")
    manifest = new / "k3os-manifest-amd64.json"
    medium = {"boot/grub/k3os/efi.img": "ab", "boot/grub/grub.cfg": "cd"}
    stage = {"sbin/init": "ef"}
    record = {**json.loads(manifest.read_text()), "medium": medium, "first_stage": stage}
    manifest.write_text(json.dumps(record))
    assert upgraded(new) == {"efi.img": "ab", **stage}
    k3s = publish(tmp_path / "k3s", kernel="6.13", k3os="0.3.0", k3s="v1.35.0+k3s1")
    assert upgraded(k3s, "k3s") == {"efi.img": "ab", **stage}, "k3s alone brings none"
