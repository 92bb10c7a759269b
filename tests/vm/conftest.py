"""Virtual machines for tests: images are built once, boots shared by a module, logs kept.

K3OS_ARTIFACTS names a directory with artifacts to test (KERNEL=cloud, K3S=tests/stubs/k3s);
without it they are built. Serial logs are kept in dist/vm-logs.
"""

import dataclasses
import functools
import os
import re
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from k3os.cli.run import initrd_with_config
from k3os.generation.grub import NO_SELF_TESTS
from k3os.image.build import build as build_image
from k3os.image.progress import Progress
from k3os.image.settings import from_environment
from k3os.system.bug import ASK
from k3os.system.run import run
from k3os.vm import accel as acceleration
from k3os.vm.machine import VM
from k3os.vm.spec import Disk, VMSpec
from tests.vm.node import serve
from tests.vm.releases import Releases

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "dist" / "vm-logs"
STUB = ROOT / "tests" / "stubs" / "k3s"
# on a busy host the emulated timer looks broken to the kernel, which then panics
CMDLINE = f"console=tty0 console=ttyS0,115200 quiet {NO_SELF_TESTS} no_timer_check"
BUILD_SECONDS = 900
SHOWN_LINES = 250
# On some hosts QEMU 7.2 (Debian 12) dies of a signal in about one boot of a hundred. That is not
# k3OS' fault, so such boots, and no others, are repeated; the summary counts them.
EMULATOR_DIED = r"QEMU ended with -\d+"
RERUNS = 2
# GRUB's menu in its first second, and the prompt after GRUB's errors
WAITS = re.compile(rb"executed automatically in 5s|Press any key to continue")
LONGEST_WAIT = 40
# Files that take minutes, the longest first, so that none of them runs alone at the end.
LONGEST = tuple(
    f"test_{name}.py"
    for name in (
        *("upgrade", "install", "apply", "takeover", "media", "power_cut", "build"),
        *("remaster", "disk", "datasource_services", "network", "commands", "fetch", "live"),
    )
)


class Images:
    """A directory of artifacts, and machines that boot from it."""

    def __init__(self, directory: Path, scratch: Path) -> None:
        self.iso = directory / "k3os-amd64.iso"
        self.kernel = directory / "k3os-vmlinuz-amd64"
        self.initrd = directory / "k3os-initrd-amd64"
        self.netboot = directory / "k3os-initrd-netboot-amd64"
        self._scratch = scratch

    def direct(self, append: str = "", config: str = "", *, medium: bool = True) -> VMSpec:
        """A machine that boots the kernel directly, which is faster than through the firmware."""
        initrd = self.initrd
        if config:
            path = self._scratch / "config.yaml"
            path.write_text(config)
            initrd = initrd_with_config(self.initrd, path, self._scratch / "initrd")
        disks = (Disk(self.iso, readonly=True),) if medium else ()
        append = f"{CMDLINE} {append}".rstrip()
        return VMSpec(kernel=self.kernel, initrd=initrd, append=append, disks=disks)


def build(kernel: str, arch: str = "amd64") -> Path:
    """Build our image with the k3s stub; fast if nothing has changed."""
    name = kernel if arch == "amd64" else f"{kernel}-{arch}"
    directory = from_environment(os.environ).cache / "vm-tests" / name
    wanted = {**_wanted(directory, kernel, arch), "PYTHONPATH": str(ROOT / "src")}
    run([sys.executable, "-m", "k3os", "build"], env=wanted, timeout=BUILD_SECONDS)
    return directory


def _wanted(artifacts: Path, kernel: str, arch: str) -> dict[str, str]:
    """A build's variables, independent of the environment."""
    unset = ("CONFIG", "K3S_AIRGAP", "FIRMWARE", "OPERATOR", "SIGN_KEY", "RELEASE_KEYS")
    wanted = {"ARCH": arch, "KERNEL": kernel, "K3S": str(STUB), "ARTIFACTS": str(artifacts)}
    return {**wanted, **dict.fromkeys(unset, "")}


def build_tarball(arch: str) -> Path:
    """The tarball that is unpacked over another system; builds nothing that boots a machine."""
    directory = from_environment(os.environ).cache / "vm-tests" / f"tarball-{arch}"
    wanted = {**os.environ, **_wanted(directory, "cloud", arch)}
    settings = from_environment(wanted)
    settings = dataclasses.replace(settings, arch=dataclasses.replace(settings.arch, boots=False))
    with Progress(directory / "build.log") as progress:
        build_image(settings, progress)
    return directory / f"k3os-rootfs-{arch}.tar.gz"


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Images:
    """The image with the cloud kernel: small and fast."""
    given = os.environ.get("K3OS_ARTIFACTS")
    directory = Path(given).absolute() if given else build("cloud")
    return Images(directory, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def generic_images(tmp_path_factory) -> Images:
    """The image with the kernel for real machines, with drivers for USB, AHCI and so on."""
    return Images(build("generic"), tmp_path_factory.mktemp("generic"))


@pytest.fixture(scope="session")
def key(tmp_path_factory) -> Path:
    """A private key for ssh, next to its public key."""
    path = tmp_path_factory.mktemp("ssh") / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
    return path


@pytest.fixture(scope="module")
def releases(images, key, tmp_path_factory) -> Iterator[Releases]:
    """Empty at first: a test makes the releases it needs."""
    directory = tmp_path_factory.mktemp("releases")
    with serve(directory) as url:
        yield Releases(images.iso.parent, directory, url, key)


@pytest.fixture(scope="session")
def accel(images) -> tuple[str, ...]:
    """Without cmpxchg16b: after QEMU 7.2 emulated it, an interrupted kernel got garbage flags, once
    in a few thousand boots. Nothing that the tests run needs it."""
    chosen = acceleration.choose(from_environment(os.environ).cache, images.kernel)
    return tuple(word.replace("+cx16", "-cx16") for word in chosen)


def place(path: Path) -> float:
    """A file's place in the order: the longest first. Files that need no image come second, to run
    while the first one waits for the image."""
    if path.parent.name == "operator":
        return 0.5
    return LONGEST.index(path.name) if path.name in LONGEST else len(LONGEST)


def pytest_collection_modifyitems(items):
    """Repeat tests, including the setup of a module's machine, if the emulator itself crashed."""
    items.sort(key=lambda item: place(item.path))
    for item in items:
        item.add_marker(pytest.mark.flaky(reruns=RERUNS, only_rerun=[EMULATOR_DIED]))


_started: list[Path] = []


@pytest.fixture(scope="session")
def boot(accel) -> Callable:
    """`with boot("name", spec) as vm`: a machine whose log is dist/vm-logs/name.log.

    GRUB's countdowns are skipped, except with `patient=True`.
    """

    return functools.partial(start, accel=accel)


@pytest.fixture(scope="session")
def boot_foreign() -> Callable:
    """Like boot, for other architectures; builds no image of ours."""
    cache = from_environment(os.environ).cache

    def start_foreign(name: str, spec: VMSpec) -> AbstractContextManager[VM]:
        return start(name, spec, accel=acceleration.choose(cache, arch=spec.arch))

    return start_foreign


@contextmanager
def start(
    name: str, spec: VMSpec, *, accel: tuple[str, ...], patient: bool = False
) -> Iterator[VM]:
    _started.append(LOGS / f"{name}.log")
    # one processor: emulating several now and then crashes the kernel or the emulator; unsafe
    # caching: what a guest writes need not survive a power cut of the host
    disks = [dataclasses.replace(disk, cache=disk.cache or "unsafe") for disk in spec.disks]
    spec = dataclasses.replace(spec, cpus=1, disks=tuple(disks))
    hurry = Hurry()
    show = None if patient or spec.kernel else hurry.look
    with VM(spec, accel=accel, log=_started[-1], show=show) as vm:
        hurry.vm = vm
        yield vm
        # a bug report on the console fails the test, whatever else it checks
        assert ASK not in vm.console.text, f"see {_started[-1]}"


class Hurry:
    """Presses Enter where GRUB would wait 5 or 10 seconds for a key."""

    def __init__(self) -> None:
        self.vm: VM | None = None
        self.seen = b""

    def look(self, data: bytes) -> None:
        """Called with each chunk of console output."""
        self.seen += data
        found = list(WAITS.finditer(self.seen))
        self.seen = self.seen[found[-1].end() if found else -LONGEST_WAIT :]
        if found and self.vm:
            self.vm.send("\n")


_used = [0.0]


def cpu_seconds() -> float:
    """Processor time since the last call, of this process and of children that have ended.

    A module's machine ends with the last test of its file, so the sum per file is right."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = sum(sum(resource.getrusage(each)[:2]) for each in who)
    _used[0], before = used, _used[0]
    return used - before


def pytest_terminal_summary(terminalreporter):
    """Show which files use the processor time, which decides how long the whole suite takes."""
    files: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            files[getattr(report, "nodeid", "").partition("::")[0]] += getattr(
                report, "cpu_seconds", 0
            )
    shown = [(file, seconds) for file, seconds in files.most_common(25) if seconds >= 20]
    if shown:
        terminalreporter.section("processor time of the files, in seconds")
        for file, seconds in [*shown, ("all", files.total())]:
            terminalreporter.line(f"{seconds:7.0f}  {file}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add the machine's serial log to a failure."""
    report = yield
    report.cpu_seconds = cpu_seconds()
    if report.failed and _started and _started[-1].exists():
        lines = _started[-1].read_text().splitlines()
        title = f"serial log {_started[-1]} (last {min(len(lines), SHOWN_LINES)} lines)"
        report.sections.append((title, "\n".join(lines[-SHOWN_LINES:])))
    return report
