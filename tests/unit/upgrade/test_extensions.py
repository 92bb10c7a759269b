"""`k3os extension add` and `remove`, and what upgrades do with a node's extensions.

Mounting is faked: an image starts like a squashfs and names the directory with its files.
"""

import json
import os
from pathlib import Path

import pytest

from k3os.cli.extension import main
from k3os.errors import UserError
from k3os.generation import extensions as of_generations
from k3os.generation import trial
from k3os.image.signing import sign
from k3os.node import extensions as command
from k3os.node import upgrade
from k3os.system.run import run
from k3os.upgrade import previous
from tests.unit.extension_trees import FITTING, extension, image
from tests.unit.local_server import content, local_site, sha256
from tests.unit.upgrade.test_command import Node
from tests.unit.upgrade.test_command import node as node
from tests.unit.upgrade.test_previous import K3OS, kept, runs


class Shelf:
    """Extensions as files, and the k3OS to which they are added."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.image = image(directory / "image", "usr/bin/sh")

    def make(
        self, name: str, *paths: str, version: str = "", fields: dict[str, str] = FITTING
    ) -> str:
        number = len(list(self.directory.glob("*.raw")))
        told = {**fields, **({"IMAGE_VERSION": version} if version else {})}
        tree = extension(self.directory / f"tree{number}", name, *paths, fields=told)
        path = self.directory / f"file{number}.raw"
        path.write_text(f"hsqs{tree}")
        return str(path)


@pytest.fixture
def shelf(node: Node, tmp_path: Path, monkeypatch) -> Shelf:
    (tmp_path / "shelf").mkdir()
    found = Shelf(tmp_path / "shelf")

    def mounted(path: str, name: str, stack: object) -> str:
        return Path(path).read_text().removeprefix("hsqs")

    monkeypatch.setattr(command, "mounted", mounted)
    monkeypatch.setattr(command, "ROOTFS", str(found.image))
    monkeypatch.setattr(command, "EXTENSIONS", f"{tmp_path}/report.json")
    monkeypatch.setattr("k3os.generation.grub.flush_journal", lambda _: None)
    return found


def add(source: str, **options: str) -> int:
    return command.add(
        {"SOURCE": source, **{f"--{name}": value for name, value in options.items()}}
    )


def of(node: Node, name: str = "current") -> list[str]:
    record = json.loads((node.system / name / "manifest.json").read_text())
    return [str(each) for each in of_generations.of(record)]


def files(node: Node) -> list[str]:
    directory = node.system / "extensions"
    return sorted(os.listdir(directory)) if directory.exists() else []


def test_one_is_on_trial_at_the_next_boot(node, shelf, capsys):
    path = shelf.make("nfs", "usr/sbin/mount.nfs", version="2.8")
    assert add(path) == 0
    assert (node.links, node.on_trial) == (("2", "1"), "2")
    assert (of(node), of(node, "previous")) == (["nfs 2.8"], [])
    link = node.system / "current/extensions/nfs.raw"
    assert link.read_bytes() == Path(path).read_bytes()
    assert "after the next boot, on trial: `sudo reboot`" in capsys.readouterr().out
    assert node.said == []


def test_called_again_it_has_nothing_to_do(node, shelf, capsys):
    path = shelf.make("nfs")
    add(path)
    add(path)
    assert kept(node) == ["1", "2"]
    assert "nothing to do, the next boot has nfs" in capsys.readouterr().out


def test_another_version_lies_beside_the_one_that_runs(node, shelf):
    add(shelf.make("nfs", "usr/a", version="1"))
    runs(node, 2)
    add(shelf.make("nfs", "usr/b", version="2"))
    assert (of(node), of(node, "previous")) == (["nfs 2"], ["nfs 1"])
    assert len(files(node)) == 2
    runs(node, 3)
    add(shelf.make("nfs", "usr/c", version="3"))
    assert (of(node), of(node, "previous"), len(files(node))) == (["nfs 3"], ["nfs 2"], 2)


def test_one_that_fails_its_trial_goes_with_its_generation(node, shelf):
    add(shelf.make("nfs", version="1"))
    runs(node, 2)
    add(shelf.make("bad", version="9"))
    assert of(node) == ["bad 9", "nfs 1"]
    trial.fail(str(node.root), "the extension bad: it is left out")
    trial.go_back(str(node.root))
    assert of(node) == ["nfs 1"]
    record = json.loads((node.system / "rollback.json").read_text())
    assert record["extensions"] == "bad 9, nfs 1"


def test_one_goes_by_name(node, shelf, capsys):
    add(shelf.make("nfs"))
    add(shelf.make("agent"))
    runs(node, int(node.links[0]))
    command.remove({"NAME": "nfs"})
    assert (of(node), of(node, "previous")) == (["agent"], ["agent", "nfs"])
    assert node.on_trial == node.links[0]
    with pytest.raises(UserError, match="no extension nfs; there are: agent"):
        command.remove({"NAME": "nfs"})


def test_a_rollback_by_hand_brings_those_of_before(node, shelf):
    add(shelf.make("nfs"))
    runs(node, 2)
    node.rollback()
    assert of(node) == []


@pytest.mark.parametrize("parts", [(), ("--k3s",), ("--k3os",)])
def test_an_upgrade_carries_them_over(node, shelf, parts):
    add(shelf.make("nfs"))
    runs(node, 2)
    node.upgrade(*parts, str(node.release), "--no-reboot")
    assert of(node) == of(node, "previous") == ["nfs"]
    assert (node.system / "current/extensions/nfs.raw").exists()


def test_a_new_k3s_waits_for_the_boot_that_an_extension_needs(node, shelf):
    add(shelf.make("nfs"))
    node.upgrade("--k3s", str(node.release))
    assert node.said == []


def test_a_way_back_that_would_take_an_extension_is_none(node, shelf):
    from k3os.cli.upgrade import parse

    node.upgrade(str(node.release))
    runs(node, 2)
    options = previous.asked(parse([*K3OS, "--k3s", "v1.33.1+k3s1", "--allow-downgrade"]))
    assert previous.is_way_back(upgrade.look(), options)
    path = node.system / "current/manifest.json"
    entry = {"nfs": {"version": "", "sha256": "a" * 64, "size": 1}}
    path.write_text(json.dumps({**json.loads(path.read_text()), "extensions": entry}))
    assert not previous.is_way_back(upgrade.look(), options)


KERNEL = "6.12.1"
REFUSED = {
    "other system": (("usr/a",), {"ID": "debian"}, "it was made for ID=debian"),
    "other level": (("usr/a",), {**FITTING, "SYSEXT_LEVEL": "debian12"}, "SYSEXT_LEVEL=debian12"),
    "other machine": (("usr/a",), {**FITTING, "ARCHITECTURE": "vax"}, "made for vax"),
    "outside": (("usr/a", "etc/a.conf"), FITTING, "it has /etc"),
    "own file": (("usr/bin/sh",), FITTING, "k3OS has /usr/bin/sh itself"),
    "other kernel": (("usr/lib/modules/1.0/a.ko",), FITTING, f"this one is {KERNEL}"),
    "file of another": (("usr/bin/first",), FITTING, "the extension first has /usr/bin/first, too"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line_and_nothing_changes(node, shelf, case):
    paths, fields, reason = REFUSED[case]
    add(shelf.make("first", "usr/bin/first"))
    before = (node.links, files(node), kept(node))
    with pytest.raises(UserError) as caught:
        add(shelf.make("bad", *paths, fields=fields))
    assert caught.value.message.startswith("bad does not fit: ")
    assert reason in caught.value.message and "\n" not in str(caught.value)
    assert (node.links, files(node), kept(node)) == before


def test_modules_of_the_kernel_that_boots_next_fit(node, shelf):
    assert add(shelf.make("gpu", f"usr/lib/modules/{KERNEL}/gpu.ko")) == 0


def test_files_of_the_node_in_opt_are_not_hidden(tmp_path, shelf):
    (tmp_path / "opt/agent").mkdir(parents=True)
    (tmp_path / "opt/agent/mine").write_text("")
    root = str(extension(tmp_path / "x", "agent", "opt/agent/bin"))
    ask = (root, "agent", str(tmp_path / "report"), str(tmp_path / "opt"))
    assert "/opt/agent of this node has files" in command.taken_in_opt(*ask)
    (tmp_path / "report").write_text('{"agent": {}}')  # the files are the extension's
    assert command.taken_in_opt(*ask) == ""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is not an extension: it is not a squashfs"),
        (b"\x7fELF", "is not an extension: it is not a squashfs"),
    ],
)
def test_another_file_is_no_extension(tmp_path, shelf, data, reason):
    if data is not None:
        (tmp_path / "x.raw").write_bytes(data)
    with pytest.raises(UserError, match=reason):
        add(str(tmp_path / "x.raw"))


def test_a_system_is_no_extension(shelf, tmp_path):
    (tmp_path / "x.raw").write_text(f"hsqs{shelf.image}")
    with pytest.raises(UserError, match="it must have one /usr/lib/extension-release"):
        add(str(tmp_path / "x.raw"))


def test_a_sum_that_is_given_must_be_right(node, shelf):
    path = shelf.make("nfs")
    with pytest.raises(UserError, match="its SHA-256 is"):
        add(path, sha256="0" * 64)
    assert kept(node) == ["1"]
    assert add(path, sha256=sha256(Path(path).read_bytes()).upper()) == 0


@pytest.fixture
def web(shelf):
    """A site with an extension and its checksum, and a key to sign it."""
    data = Path(shelf.make("nfs")).read_bytes()
    with local_site() as site:
        site.data, site.sums = data, f"{sha256(data)}  nfs.raw\n".encode()
        site.address = site.page("/nfs.raw", content(data))
        yield site


def test_from_the_web_it_comes_with_its_sum(node, web):
    with pytest.raises(UserError, match="404"):
        add(web.address)
    assert kept(node) == ["1"]
    assert add(web.address, sha256=sha256(web.data)) == 0
    assert of(node) == ["nfs"]
    assert not (node.system / "downloads").exists()


def test_what_came_from_the_web_otherwise_does_not_stay(node, web):
    with pytest.raises(UserError, match="wrong checksum"):
        add(web.address, sha256="0" * 64)
    assert kept(node) == ["1"]
    assert not (node.system / "downloads").exists()


def test_or_with_a_sum_that_somebody_signed_whom_the_node_trusts(node, web, tmp_path):
    for name in ("ours", "theirs"):
        path = tmp_path / name
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)])
    trust = {"verify-key": str(tmp_path / "ours.pub")}
    web.page("/nfs.raw.sha256", content(web.sums))
    with pytest.raises(UserError, match="is not signed"):
        add(web.address, **trust)
    web.page("/nfs.raw.sha256.sig", content(sign(web.sums, tmp_path / "theirs")))
    with pytest.raises(UserError, match="none of the keys"):
        add(web.address, **trust)
    assert kept(node) == ["1"]
    web.page("/nfs.raw.sha256.sig", content(sign(web.sums, tmp_path / "ours")))
    assert add(web.address, **trust) == 0
    assert of(node) == ["nfs"]


def test_without_a_sum_only_who_says_so_takes_it(node, web):
    assert add(web.address, insecure="yes") == 0
    assert of(node) == ["nfs"]


def test_no_more_than_fit_into_a_mount(node, shelf, monkeypatch):
    monkeypatch.setattr(command, "MOST", 1)
    add(shelf.make("a"))
    with pytest.raises(UserError, match="1 extensions at most"):
        add(shelf.make("b"))


def test_what_is_on_trial_is_waited_for(node, shelf):
    Path(upgrade.ON_TRIAL).write_text("600\n")
    for call in (lambda: add(shelf.make("a")), lambda: command.remove({"NAME": "a"})):
        with pytest.raises(UserError, match="on trial"):
            call()


def test_a_damaged_copy_is_written_anew_beside_the_one_that_is_mounted(node, shelf):
    path = shelf.make("nfs")
    add(path)
    runs(node, 2)
    (name,) = files(node)
    mounted = open(node.system / "extensions" / name, "rb+")  # noqa: SIM115
    mounted.write(b"rott")
    mounted.flush()
    add(path)
    mounted.seek(0)
    assert mounted.read(4) == b"rott"
    assert (node.system / "current/extensions/nfs.raw").read_bytes() == Path(path).read_bytes()
    mounted.close()


def test_a_power_cut_before_the_switch_leaves_what_was_there(node, shelf, monkeypatch):
    class Cut(BaseException):
        pass

    def cut(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patched, pytest.raises(Cut):
        patched.setattr("k3os.generation.switching.switch", cut)
        add(shelf.make("nfs"))
    assert os.readlink(node.system / "current") == "generations/1"
    assert add(shelf.make("nfs", "usr/b")) == 0
    assert of(node) == ["nfs"]
    assert len(files(node)) == 1


@pytest.mark.parametrize(
    "words",
    [[], ["add"], ["remove"], ["list", "a"], ["add", "a", "b"], ["put", "a"], ["add", "--dry-run"]],
)
def test_wrong_words_are_refused(words):
    with pytest.raises(UserError) as caught:
        main(words)
    assert caught.value.exit_code == 2
