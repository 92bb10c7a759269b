"""The decisions of PID 1, and the files it leaves; the effects are tested in VMs."""

import json
import os
import stat
from pathlib import Path
from typing import NoReturn

import pytest

from k3os.boot import guard, host_setup, init, media, root
from k3os.boot.rescue import explain
from k3os.boot.steps import try_each
from k3os.cluster import config_trial
from k3os.errors import UserError
from k3os.generation import layout
from k3os.paths import TRIED


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(init, "say", lines.append)
    return lines


@pytest.mark.parametrize(
    ("options", "medium", "mode"),
    [
        ({}, "iso", "live"),
        ({}, "disk", "disk"),
        ({"k3os.mode": "live"}, "disk", "live"),
        ({"k3os.mode": "install"}, "iso", "install"),
        ({"k3os.mode": "install"}, "netboot", "install"),
        ({}, "netboot", "live"),
        ({"k3os.fallback_mode": "install"}, "iso", "install"),
        ({"k3os.fallback_mode": "install"}, "disk", "disk"),
        ({"k3os.mode": "shell"}, "iso", "shell"),
        ({"k3os.fallback_mode": "shell"}, "iso", "shell"),
    ],
)
def test_the_mode_is_the_cmdlines_then_the_fallback_then_live(
    said: list[str], options: dict[str, str], medium: str, mode: str
) -> None:
    assert init.choose_mode(options, medium) == mode
    assert said == []


def test_an_unknown_mode_is_said_and_the_node_boots_as_without_it(said: list[str]) -> None:
    assert init.choose_mode({"k3os.mode": "lvie"}, "iso") == "live"
    assert init.choose_mode({"k3os.mode": "lvie"}, "disk") == "disk"
    assert "k3os.mode=lvie is unknown (known: live, disk, install, shell)" in said[0]


@pytest.mark.parametrize("fallback", ["disk", "instal"])
def test_a_fallback_that_is_none_is_said_and_the_node_boots_live(
    said: list[str], fallback: str
) -> None:
    assert init.choose_mode({"k3os.fallback_mode": fallback}, "iso") == "live"
    assert f"k3os.fallback_mode={fallback} is not a mode to fall back to" in said[0]


def test_a_bad_timeout_is_said_and_the_default_taken(said: list[str]) -> None:
    assert init._wait_seconds({"k3os.media_timeout": "soon"}) == 30
    assert "k3os.media_timeout=soon" in said[0]
    assert init._wait_seconds({"k3os.media_timeout": "5"}) == 5


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """A node whose NodePool has just changed its configuration; returns its data directory and the
    trials that were started."""
    begun: list[str] = []
    monkeypatch.setattr("k3os.boot.guard.begin", begun.append)
    data = str(tmp_path)
    (tmp_path / config_trial.FRAGMENT[1:]).parent.mkdir(parents=True)
    (tmp_path / config_trial.FRAGMENT[1:]).write_text("good")
    config_trial.begin("r1", 90, data)
    (tmp_path / config_trial.FRAGMENT[1:]).write_text("bad")
    return data, begun


def medium(path: Path) -> media.Medium:
    found = media.FileSystem("/dev/vda3", "ext4", layout.STATE_LABEL)
    return media.Medium("disk", found, str(path))


def test_a_changed_configuration_is_on_trial_three_times_then_the_former_one_is_back(
    changed: tuple[str, list[str]], said: list[str], tmp_path: Path
) -> None:
    data, begun = changed
    disk = medium(tmp_path)
    assert not init.on_trial_or_back(disk, {"rescue": ""}, data)
    assert [init.on_trial_or_back(disk, {}, data) for _ in range(5)] == [True] * 3 + [False] * 2
    assert begun == ["90"] * 3
    assert Path(data + config_trial.FRAGMENT).read_text() == "good"
    assert said == [f"the former configuration is back: {config_trial.UNKNOWN}"]


def test_the_configuration_goes_back_with_the_version_it_came_with(
    changed: tuple[str, list[str]], said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, begun = changed
    monkeypatch.setattr("k3os.generation.trial.go_back", lambda root: f"back in {root}")
    assert init.on_trial_or_back(medium(tmp_path), {"k3os.trial": "60"}, data)
    assert begun == ["60"]
    assert not init.on_trial_or_back(medium(tmp_path), {"k3os.rollback": ""}, data)
    assert Path(data + config_trial.FRAGMENT).read_text() == "good"
    assert config_trial.taken_back(data)["reason"] == said[0] == f"back in {tmp_path}"


def test_a_trial_that_cannot_be_counted_does_not_stop_the_boot(
    changed: tuple[str, list[str]], said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, begun = changed

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(config_trial, "atomic_write", full)
    assert not init.on_trial_or_back(medium(tmp_path), {}, data)
    assert begun == []
    assert "No space left" in said[0]


def test_what_somebody_tried_is_taken_back_by_a_boot(
    said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, data = "/var/lib/rancher/k3os/config.yaml", str(tmp_path)
    own = tmp_path / place[1:]
    own.parent.mkdir(parents=True)
    own.write_text("tried")
    record = {"place": place, "former": "before", "restart": False}
    (tmp_path / TRIED[1:]).write_text(json.dumps(record))
    with monkeypatch.context() as context:
        context.setattr("k3os.config.tried.atomic_write", raising)
        init.take_back_what_was_tried(data)  # and the boot goes on
    assert own.read_text() == "tried"
    for _ in range(2):
        init.take_back_what_was_tried(data)
        assert own.read_text() == "before"
    init.take_back_what_was_tried("")
    assert ["disk is full" in line for line in said] == [True, False]
    assert (
        said[1] == f"{place}: nobody kept the configuration that was tried; the former one is back"
    )


def raising(*_: object, **__: object) -> None:
    raise OSError(28, "the disk is full")


class Restarted(BaseException):
    """Raised when the machine would be restarted, or a shell opened."""


@pytest.mark.parametrize(
    ("cmdline", "words", "end"),
    [
        ("quiet k3os.trial=600 softlockup_panic=1", "", "a restart"),
        ("quiet", "k3os.trial=600", "a restart"),
        ("quiet", "", "a shell"),
        ("rescue k3os.trial=600", "", "a shell"),
        ("k3os.trial=600 softlockup_panic=1 k3os.uncounted", "", "a shell"),
        ("k3os.generation=previous k3os.rollback", "", "a shell"),
    ],
)
def test_a_new_version_that_does_not_find_its_disk_restarts_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cmdline: str, words: str, end: str
) -> None:
    def ended(what: str) -> NoReturn:
        raise Restarted(what)

    (tmp_path / "cmdline").write_text(f"{cmdline}\n")
    monkeypatch.setattr(guard, "CMDLINE", str(tmp_path / "cmdline"), raising=False)
    monkeypatch.setattr(guard, "ON_TRIAL", str(tmp_path / "trial"))
    monkeypatch.setattr(guard, "MOUNTED_AT", ())
    monkeypatch.setattr(guard, "say", lambda _: None)
    monkeypatch.setattr(init.power, "reboot", lambda: ended("a restart"))
    monkeypatch.setattr(init, "_start_again", lambda: ended("a shell"))
    monkeypatch.setattr(init, "INIT", str(tmp_path / "cmdline"))  # the initrd is still there
    monkeypatch.setattr(init.rescue, "open_shells", lambda *_, **__: None)
    monkeypatch.setattr(
        init, "_boot", lambda *_: (_ for _ in ()).throw(UserError("no k3OS boot medium was found"))
    )
    monkeypatch.setattr(os, "umask", lambda _: 0)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    with pytest.raises(Restarted, match=end):
        init.main("", words)


def test_what_went_wrong_is_explained_without_a_traceback_where_it_is_known() -> None:
    assert explain(UserError("no disk", "check cables")) == "no disk\ncheck cables"
    assert explain(FileNotFoundError(2, "No such file", "/x")) == "No such file: /x"
    assert "bug of k3OS" in explain(ZeroDivisionError())


def test_a_tree_is_copied_with_modes_and_links(tmp_path: Path) -> None:
    source = tmp_path / "image"
    (source / "etc").mkdir(parents=True)
    (source / "usr").mkdir()
    (source / "tmp").mkdir()
    (source / "tmp").chmod(0o1777)
    (source / "bin").symlink_to("usr/bin")
    (source / "etc" / "shadow").write_text("secret")
    (source / "etc" / "shadow").chmod(0o640)
    (source / "etc" / "mtab").symlink_to("../proc/self/mounts")
    (source / "usr" / "not-copied").write_text("")
    target = tmp_path / "root"
    target.mkdir()
    root.populate(str(source), str(target))
    assert (target / "bin").readlink() == Path("usr/bin")
    assert (target / "etc" / "shadow").read_text() == "secret"
    assert stat.S_IMODE((target / "etc" / "shadow").stat().st_mode) == 0o640
    assert (target / "etc" / "mtab").readlink() == Path("../proc/self/mounts")
    assert stat.S_IMODE((target / "tmp").stat().st_mode) == 0o1777
    assert list((target / "usr").iterdir()) == []


def test_what_the_image_brings_is_added_and_what_is_there_stays(tmp_path: Path) -> None:
    image, data = tmp_path / "image", tmp_path / "data"
    (image / "lib" / "new").mkdir(parents=True)
    (image / "lib" / "new").chmod(0o700)
    (image / "lib" / "new" / "file").write_text("new")
    (image / "log").mkdir()
    (image / "log" / "inside").write_text("")
    (image / "kept").write_text("the image's")
    (image / "run").symlink_to("/run")
    root.seed(str(image), str(data))
    assert (data / "run").readlink() == Path("/run")
    assert stat.S_IMODE((data / "lib" / "new").stat().st_mode) == 0o700
    (data / "kept").write_text("mine")
    (data / "kept").chmod(0o600)
    (data / "lib" / "new" / "file").unlink()
    (data / "mine").write_text("mine")
    (data / "log" / "inside").unlink()
    (data / "log").rmdir()
    (data / "log").symlink_to("/elsewhere")
    root.seed(str(image), str(data))
    assert (data / "kept").read_text() == "mine"
    assert stat.S_IMODE((data / "kept").stat().st_mode) == 0o600
    assert (data / "lib" / "new" / "file").read_text() == "new"
    assert (data / "mine").exists()
    assert (data / "log").readlink() == Path("/elsewhere")


def test_the_machine_id_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_setup, "STATE", str(tmp_path))
    first = host_setup.machine_id()
    assert len(first) == 32
    assert host_setup.machine_id() == first
    (tmp_path / "machine-id").write_text("not an id\n")
    assert host_setup.machine_id() != first


def test_sysctl_defaults_are_set_and_unknown_ones_skipped(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "50-a.conf").write_text("# c\n\nvm.x = 1\n-vm.none = 2\nnet.a.b=3 4\n")
    for path in ("vm/x", "net/a/b"):
        (tmp_path / "sys" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / path).write_text("0")
    host_setup.apply_sysctl_defaults(str(tmp_path / "d"), str(tmp_path / "sys"))
    assert (tmp_path / "sys/vm/x").read_text() == "1"
    assert (tmp_path / "sys/net/a/b").read_text() == "3 4"
    assert not os.path.exists(tmp_path / "sys/vm/none")


def test_nodes_that_load_a_module_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int, int]] = []

    def mknod(path: str, mode: int, device: int) -> None:
        made.append((path, stat.S_IFMT(mode), device))
        Path(path).touch()

    monkeypatch.setattr(os, "mknod", mknod)
    listing = tmp_path / "modules.devname"
    listing.write_text("# c\nfuse fuse c10:229\ntun net/tun c10:200\nloop loop7 b7:7\n")
    for _ in range(2):
        host_setup.make_static_nodes(str(listing), str(tmp_path / "dev"))
    assert [(path.removeprefix(str(tmp_path)), kind) for path, kind, _ in made] == [
        ("/dev/fuse", stat.S_IFCHR),
        ("/dev/net/tun", stat.S_IFCHR),
        ("/dev/loop7", stat.S_IFBLK),
    ]
    assert made[0][2] == os.makedev(10, 229)
    assert stat.S_IMODE((tmp_path / "dev/net/tun").stat().st_mode) == 0o666
    host_setup.make_static_nodes(str(tmp_path / "missing"), str(tmp_path / "dev"))


def test_the_initrds_memory_is_given_back_except_for_what_is_booted_from(tmp_path: Path) -> None:
    for path in ("usr/bin/python", "medium/k3os/system/rootfs", "init"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    (tmp_path / "bin").symlink_to("usr/bin")
    directory = os.open(tmp_path, os.O_RDONLY)
    root.empty(directory, os.stat(tmp_path / "medium"))
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "medium",
        "medium/k3os",
        "medium/k3os/system",
        "medium/k3os/system/rootfs",
    ]
    root.empty(directory, os.stat("/proc"))
    os.close(directory)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "patience"),
    [({}, 10), ({"k3os.fallback_mode": "install"}, 10), ({"k3os.mode": "live"}, 0)],
)
def test_an_initrd_that_carries_the_system_gives_a_slow_disk_time(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str], patience: float
) -> None:
    asked: list[float] = []

    def find(*_: object, **wanted: float) -> NoReturn:
        asked.append(wanted["patience"])
        raise UserError("enough")

    monkeypatch.setattr(init.media, "kinds_of", lambda mode: ("disk", "netboot"))
    monkeypatch.setattr(init.media, "find", find)
    with pytest.raises(UserError, match="enough"):
        init.find_medium(options)
    assert asked == [patience]


def test_what_a_node_boots_without_costs_only_itself() -> None:
    done: list[str] = []
    said: list[str] = []

    def fails() -> None:
        raise FileNotFoundError(2, "No such file or directory", "/etc/nvme/hostid")

    steps = {"name it": fails, "tune it": lambda: done.append("tuned")}
    try_each(steps, said.append)
    assert done == ["tuned"]
    assert said == [
        "could not name it: [Errno 2] No such file or directory: '/etc/nvme/hostid'; "
        "the boot continues"
    ]
