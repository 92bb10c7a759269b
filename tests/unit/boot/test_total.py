"""An unexpected exception in each loop over sources, keys, disks, appliers and steps of the early
boot: it affects only that item, is reported with its location, and the boot goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from k3os.boot import beside, host_setup, init, media, steps
from k3os.config import check, kinds, load, merge
from k3os.datasource import media as cloud_media
from k3os.datasource import runtime, search, store, userdata
from k3os.datasource.found import Found
from k3os.generation import layout
from k3os.phases import apply, hostname, modules
from k3os.phases.actions import Action
from k3os.phases.node import Node
from k3os.phases.ours import Ours
from k3os.phases.phase_report import PhaseReport
from k3os.system import bug
from k3os.system.blockdev import FileSystem

SECRET = "swordfish-0815"
ERRORS = [
    RuntimeError(SECRET),
    RecursionError(SECRET),
    MemoryError(),
    UnicodeEncodeError("utf-8", SECRET, 0, 1, ""),
]
each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


def throws(error: Exception) -> Callable[..., NoReturn]:
    def throw(*_: object, **__: object) -> NoReturn:
        raise type(error)(*error.args)  # error itself may have a traceback

    return throw


def told(lines: list[str], error: Exception, where: str) -> bool:
    """Whether a line names the exception and its location, and calls it a bug."""
    parts = (type(error).__name__, where, bug.ASK)
    return any(all(part in line for part in parts) for line in lines)


# --- sources and keys


class Sources:
    """A node's directory with three sources; the middle one runs into a bug."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in (
            ("k3os/system/config.yaml", "hostname: one\nk3os: {modules: [a]}\n"),
            ("var/lib/rancher/k3os/config.yaml", "hostname: two\nk3os: {modules: [b]}\n"),
            (
                "var/lib/rancher/k3os/config.d/9.yaml",
                "k3os: {modules: [c], taints: ['x:NoExecute']}\n",
            ),
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)

    def load(self) -> tuple[load.Config, list[str]]:
        config, problems = load.load_config(str(self.root), cmdline="k3os.labels.a=b")
        return config, [str(problem) for problem in problems]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


def only(
    real: Callable[..., Any], error: Exception, when: Callable[..., bool]
) -> Callable[..., Any]:
    """The real function, but it raises error if `when` returns true."""

    def maybe(*given: Any, **more: Any) -> Any:
        if when(*given, **more):
            throws(error)()
        return real(*given, **more)

    return maybe


def _is_second(values: dict[str, Any]) -> bool:
    return "hostname" in values and str(values["hostname"].data) == "two"


MEETS_A_BUG = {
    "k3os.config.yamltext.read": lambda data, _: b"two" in data,
    "k3os.config.check.check_tree": lambda root: root.pairs[0][1].text == "two",
    "k3os.config.load._file": lambda _, path, *__: path == "/var/lib/rancher/k3os/config.yaml",
    "k3os.config.load.merge": lambda _, new: _is_second(new),
}


@each_error
@pytest.mark.parametrize("place", MEETS_A_BUG)
def test_a_source_that_meets_a_bug_costs_itself(
    sources: Sources,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    place: str,
) -> None:
    module, _, function = place.rpartition(".")
    real = getattr(__import__(module, fromlist=[function]), function)
    monkeypatch.setattr(place, only(real, error, MEETS_A_BUG[place]))
    name = "k3os/config/load.py" if "load" in place else "k3os/config/check.py"
    config, problems = sources.load()
    assert config.text("hostname") == "one"
    assert config.texts("k3os.modules") == ["a", "c"]
    assert config.mapping("k3os.labels") == {"a": "b"}
    assert told(problems, error, name)
    assert any("/var/lib/rancher/k3os/config.yaml" in problem for problem in problems)
    out = capfd.readouterr()
    assert f"k3os:   {name}:" in out.err
    assert SECRET not in out.err + out.out + "".join(problems)


@each_error
def test_the_command_line_that_meets_a_bug_costs_itself(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("k3os.config.cmdline.parse", throws(error))
    config, problems = sources.load()
    assert config.texts("k3os.modules") == ["a", "b", "c"]
    assert told(problems, error, "k3os/config/check.py")
    assert [each for each in problems if each.startswith("cmdline: ")]


@each_error
def test_a_key_that_meets_a_bug_costs_itself(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setitem(kinds.KINDS, "taints", throws(error))
    config, problems = sources.load()
    assert config.texts("k3os.modules") == ["a", "b", "c"]
    assert config.get("k3os.taints") is None
    assert any("9.yaml:1:" in each and "k3os.taints: " in each for each in problems)
    assert told(problems, error, "k3os/config/kinds.py")


@each_error
def test_advice_that_meets_a_bug_is_left_out(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    (sources.root / "k3os/system/config.yaml").write_text("write_files: [{path: /a}]\n")
    monkeypatch.setattr("k3os.config.k3s_files.contradictions", throws(error))
    config, problems = sources.load()
    assert config.items("write_files")
    assert told(problems, error, "k3os/config/load.py")


# --- appliers and actions


class Breaks(Action):
    """An action that raises an exception in the given place."""

    def __init__(self, where: str, error: Exception) -> None:
        super().__init__("k3os.modules", hostname.Place("x"))
        self.where = where
        self.error = error

    def _maybe(self, where: str) -> None:
        if where == self.where:
            throws(self.error)()

    def describe(self) -> str:
        self._maybe("describe")
        return "break"

    def perform(self, node: Node) -> str:
        self._maybe("perform")
        return "done"

    @property
    def thing(self) -> str:
        return "module x"

    def traces(self) -> tuple[str, str | None]:
        self._maybe("traces")
        return "", None


def phase(root: Path, say: Callable[[str], None]) -> PhaseReport:
    (root / "k3os/system").mkdir(parents=True, exist_ok=True)
    text = f"hostname: one\nk3os: {{modules: [a], token: {SECRET}}}\n"
    text += "write_files: [{path: /etc/x, content: y}]\n"
    (root / "k3os/system/config.yaml").write_text(text)
    return apply.apply_phase("boot", mode="live", root=str(root), cmdline="", say=say)


@each_error
@pytest.mark.parametrize(
    "where", ["plan", "perform", "describe", "traces", "expect", "save", "status", "secrets"]
)
def test_an_applier_or_an_action_that_meets_a_bug_costs_itself(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    where: str,
) -> None:
    monkeypatch.setattr(modules, "plan", lambda *_: [Breaks(where, error)])
    if where == "plan":
        monkeypatch.setattr(modules, "plan", throws(error))
    elif where == "secrets":
        monkeypatch.setattr(load.Config, "secrets", throws(error))
        monkeypatch.setattr(modules, "plan", throws(error))
    elif where in ("expect", "save"):
        monkeypatch.setattr(Ours, where, throws(error))
    elif where == "status":
        monkeypatch.setattr(apply, "write_status", throws(error))
    said: list[str] = []
    report = phase(tmp_path, said.append)
    assert (tmp_path / "etc/x").read_text() == "y"
    assert (tmp_path / "etc/hostname").read_text() == "one\n"
    assert told(said, error, "k3os/phases/")
    if where in ("plan", "perform", "describe", "traces"):
        (failed,) = [each for each in report.failed if each.is_bug]
        assert failed.key == "k3os.modules"
    assert SECRET not in capfd.readouterr().err + "".join(said)


# --- data sources, cloud data on disks


@each_error
@pytest.mark.parametrize("place", ["fetch", "publish", "keep", "parts"])
def test_a_data_source_that_meets_a_bug_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    found = Found("nocloud", "given", [], b"hostname: other\n")
    answers = {
        "aws": throws(error) if place == "fetch" else lambda _: found,
        "nocloud": lambda _: found,
    }
    monkeypatch.setattr("k3os.datasource.query.fetch", answers.__getitem__)
    if place in ("publish", "keep"):
        monkeypatch.setattr(store, place, throws(error))
    elif place == "parts":
        monkeypatch.setattr(userdata, "_parts", throws(error))
    node = Node(str(tmp_path), "runtime")
    text = b"k3os: {data_sources: [aws, nocloud]}"
    config = load.Config(check.check_text(text, "x")[0])
    said: list[str] = []
    results = runtime.collect(config, node, ask=search.search, say=said.append)
    assert told([each.reason for each in results], error, "k3os/datasource/")
    if place in ("fetch", "parts"):
        assert 'hostname: "given"' in (tmp_path / load.METADATA[1:]).read_text()


@each_error
@pytest.mark.parametrize("place", ["probe", "mount", "read"])
def test_a_disk_that_meets_a_bug_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    def probe(device: str) -> FileSystem:
        if place == "probe" and device == "/dev/sda":
            throws(error)()
        return FileSystem(device, "iso9660", "cidata")

    def mount(device: str, *_: object) -> None:
        if place == "mount" and device == "/dev/sda":
            throws(error)()
        mounted.append(device)

    def read(directory: str) -> Found | None:
        if place == "read" and mounted[-1] == "/dev/sda":
            throws(error)()
        return Found("nocloud", mounted[-1].rpartition("/")[2])

    mounted: list[str] = []
    monkeypatch.setattr(cloud_media, "MOUNTED_AT", str(tmp_path))
    monkeypatch.setattr(cloud_media, "block_devices", lambda: ["sda", "sdb"])
    monkeypatch.setattr(cloud_media, "probe", probe)
    monkeypatch.setattr(cloud_media.mounts, "mount", mount)
    monkeypatch.setattr(cloud_media.mounts, "unmount", lambda *_: None)
    assert cloud_media.first("cidata", read).hostname == "sdb"


@each_error
def test_cloud_data_beside_the_medium_that_meets_a_bug_costs_itself(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(beside, "partitions", throws(error))
    said: list[str] = []
    medium = media.Medium("iso", FileSystem("/dev/sda", "iso9660", "K3OS"), "/x")
    beside.keep(medium, said.append)
    assert told(said, error, "k3os/boot/")


# --- the early boot


class Booted(BaseException):
    """Raised when systemd would be started."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """PID 1 of a machine without problems; returns what it says."""
    medium = media.Medium(
        "disk", FileSystem("/dev/vda3", "ext4", layout.STATE_LABEL), str(tmp_path)
    )
    nothing: Callable[..., None] = lambda *_, **__: None  # noqa: E731
    for name in ("mount_kernel_file_systems", "build", "enter"):
        monkeypatch.setattr(init.root, name, nothing)
    for name in ("choose_generation", "remember_generation"):
        monkeypatch.setattr(init, name, nothing)
    for name in ("before_phase", "after_phase", "keep_var_mounted"):
        monkeypatch.setattr(host_setup, name, nothing)
    monkeypatch.setattr(init, "find_medium", lambda options: medium)
    monkeypatch.setattr(init, "calm", nothing)
    monkeypatch.setattr(init.timeline, "write", nothing)
    monkeypatch.setattr(init, "SYSTEMD", "/bin/true")
    monkeypatch.setattr("k3os.boot.takeover.is_wanted", lambda _: False)
    monkeypatch.setattr("k3os.boot.state.prepare", lambda *_, **__: "k3os/data")
    monkeypatch.setattr("k3os.boot.grow.gain", lambda _: 0)
    monkeypatch.setattr("k3os.phases.apply.apply_phase", nothing)
    monkeypatch.setattr("k3os.phases.apply.preload", nothing)
    monkeypatch.setattr(os, "execve", throws(Booted()))  # type: ignore[arg-type]
    said: list[str] = []
    monkeypatch.setattr(init, "say", said.append)
    monkeypatch.setattr(steps.try_each, "__defaults__", (said.append,))
    return said


def boot() -> None:
    with pytest.raises(Booted):
        init._boot("", "quiet")


def test_where_all_goes_well_nothing_is_said_of_it(machine: list[str]) -> None:
    boot()
    assert not [line for line in machine if "could not" in line]


@each_error
@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("k3os.boot.init.calm", "keep the kernel's log off the console"),
        ("k3os.phases.apply.preload", "import the phases early"),
        ("k3os.phases.apply.apply_phase", "apply the initrd phase"),
        ("k3os.phases.apply.apply_phase", "apply the boot phase"),
        ("k3os.boot.host_setup.keep_var_mounted", "keep /var mounted to the end"),
        ("k3os.boot.grow.gain", "look for more room on the disk"),
        ("k3os.boot.timeline.write", "write down the timeline"),
    ],
)
def test_a_step_of_the_boot_that_meets_a_bug_costs_itself(
    machine: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception, place: str, what: str
) -> None:
    monkeypatch.setattr(place, throws(error))
    boot()
    (line,) = [line for line in machine if what in line]
    assert line.startswith(f"could not {what}: ")
    assert line.endswith("; the boot continues")
    assert told([line], error, "k3os/boot/")


@pytest.mark.parametrize(
    "step", ["config_trial.restore", "config_trial.attempt", "config_trial.is_on_trial"]
)
@each_error
def test_a_trial_that_meets_a_bug_costs_itself(
    machine: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, step: str
) -> None:
    from k3os import paths

    (tmp_path / paths.FRAGMENT_TRIAL[1:]).parent.mkdir(parents=True)
    (tmp_path / paths.FRAGMENT_TRIAL[1:]).write_text("{}")
    monkeypatch.setattr(f"k3os.cluster.{step}", throws(error))
    monkeypatch.setattr("k3os.generation.trial.go_back", lambda root: "back")
    medium = media.Medium("disk", FileSystem("/dev/vda3", "ext4", ""), str(tmp_path))
    options = {"k3os.rollback": ""} if step == "config_trial.restore" else {}
    assert init.on_trial_or_back(medium, options, str(tmp_path)) is False
    assert told(machine, error, "k3os/boot/")


STEPS_BEFORE = (
    *("name_for_storage", "apply_sysctl_defaults", "make_static_nodes"),
    *("keep_journal_small", "consoles.greet"),
)
STEPS_AFTER = ("consoles.autologin_user", "consoles.write_banner", "consoles.add")


@each_error
@pytest.mark.parametrize(
    "broken", [*STEPS_BEFORE, *STEPS_AFTER, "os.symlink", "os.makedirs", "atomic_write"]
)
def test_the_last_touches_are_done_each_for_itself(
    monkeypatch: pytest.MonkeyPatch, error: Exception, broken: str
) -> None:
    done: list[str] = []
    for name in (*STEPS_BEFORE, *STEPS_AFTER):
        step = f"k3os.boot.host_setup.{name}"
        monkeypatch.setattr(step, lambda *_, name=name: done.append(name) or "")
    monkeypatch.setattr(host_setup, "atomic_write", lambda path, *_, **__: done.append(path))
    system = SimpleNamespace(path=os.path, uname=os.uname, urandom=os.urandom)
    system.symlink = lambda *_: done.append("symlink")
    system.makedirs = lambda path, **_: done.append(path)
    monkeypatch.setattr(host_setup, "os", system)
    monkeypatch.setattr(host_setup, "STATE", "/nowhere")
    monkeypatch.setattr(host_setup.clock, "check", lambda _: done.append("clock"))
    monkeypatch.setattr(host_setup.memory, "tune", lambda: done.append("tune"))
    monkeypatch.setattr(host_setup, "console_devices", lambda: ["/dev/tty1", "/dev/ttyS0"])
    monkeypatch.setattr(f"k3os.boot.host_setup.{broken}", throws(error))
    said: list[str] = []
    monkeypatch.setattr(steps.try_each, "__defaults__", (said.append,))
    host_setup.before_phase("live")
    host_setup.after_phase("live")
    left = {*STEPS_BEFORE, *STEPS_AFTER, "tune", "symlink", "/etc/machine-id"}
    names = {"os.symlink": "symlink", "atomic_write": "/etc/machine-id", "os.makedirs": ""}
    assert left - set(done) == {names.get(broken, broken)} - {""}
    assert told(said, error, "k3os/boot/")


def test_a_bug_of_pid_1_goes_to_the_kernels_log_with_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "kmsg"
    log.write_bytes(b"")
    monkeypatch.setattr(bug, "KERNEL_LOG", str(log))
    monkeypatch.setattr(bug.os, "getpid", lambda: 1)
    written: list[bytes] = []
    monkeypatch.setattr(bug.os, "write", lambda _, data: written.append(data) or len(data))
    try:
        merge.merge(None, {})  # type: ignore[arg-type]
    except Exception as error:
        line = bug.report(error)
    assert (
        line.startswith("TypeError in k3os/config/merge.py:") or "in k3os/config/merge.py:" in line
    )
    assert written[0].startswith(b"<4>k3os: ")
    assert any(b"k3os/config/merge.py:" in each and b" in merge" in each for each in written)
