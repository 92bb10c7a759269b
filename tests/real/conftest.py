"""`make test-real`: clusters with a real k3s in virtual machines; prints one line per step.

Nothing here is collected unless pytest is given this directory. The steps share a lab and build on
each other; a step chosen with -k brings up what it needs. Serial logs and the output of the
services are kept in dist/real/logs.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.image.settings import from_environment
from k3os.system.run import CommandError, run
from k3os.vm import accel as acceleration
from tests.real import images as lab_images
from tests.real.builds import Builds
from tests.real.cluster import agent, cluster, kept, machines, server  # noqa: F401 (fixtures)
from tests.real.given import Given, given
from tests.real.lab import Lab, needs_root, running, say
from tests.real.node import Node
from tests.real.plan import Host, Plan, own_namespace
from tests.vm.conftest import Images
from tests.vm.releases import Releases

HERE = Path(__file__).parent
OUTPUT = HERE.parents[1] / "dist" / "real"
LOGS = OUTPUT / "logs"
NAMES = ("live", "server", "agent", "etcd-1", "etcd-2", "etcd-3")
SHOWN_LINES = 60

_results: list[tuple[str, str, float]] = []
_labs: list[Lab] = []
_key: list[Path] = []


def _asked(config: pytest.Config) -> bool:
    places = [Path(each.partition("::")[0]).resolve() for each in config.args]
    return any(place == HERE or HERE in place.parents for place in places)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if _asked(config) else True


def pytest_sessionstart(session: pytest.Session) -> None:
    """Report missing prerequisites before anything starts, if this directory was asked for."""
    if not _asked(session.config) or session.config.option.collectonly:
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        session.config.stash[GIVEN] = given(os.environ)
        needs_root()
    except UserError as error:
        raise pytest.UsageError(str(error)) from error


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt  # as Ctrl-C does, so that machines and network are torn down


GIVEN = pytest.StashKey[Given]()


@pytest.fixture(scope="session")
def k3s(request: pytest.FixtureRequest) -> Given:
    found = request.config.stash[GIVEN]
    newer = found.next.version if found.next else "none (K3S_NEXT): the same, relabelled"
    say(f"k3s {found.k3s.version}; to upgrade to: {newer}")
    return found


@pytest.fixture(scope="session")
def builds(k3s: Given) -> Builds:
    archives = OUTPUT / "images"
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir(parents=True)
    pauses = {each.pause for each in (k3s.k3s, k3s.next) if each is not None}
    made = lab_images.make(pauses, archives)
    return Builds(k3s, (*made, *k3s.airgap), OUTPUT)


@pytest.fixture(scope="session")
def images(builds: Builds, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """k3OS with this k3s and the lab's container images, built once."""
    return Images(builds.current(), tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key for ssh and for signing releases, next to its public key."""
    path = kept(tmp_path_factory, "key") / "key"
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
    _key.append(path)
    return path


@pytest.fixture(scope="session")
def lab(images: Images, k3s: Given, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The network; the steps start machines as they need them."""
    shutil.rmtree(LOGS, ignore_errors=True)
    chosen = acceleration.choose(from_environment(os.environ).cache, images.kernel)
    hosts = tuple(Host(name, number) for number, name in enumerate(NAMES, 1))
    plan = Plan(own_namespace(), hosts)
    directory = tmp_path_factory.mktemp("lab")
    with running(plan, directory, LOGS, chosen, k3s.k3s.path) as found:
        _labs.append(found)
        yield found


@pytest.fixture(scope="session")
def release(lab: Lab, builds: Builds, key: Path) -> Callable[[str], str]:
    """A function that builds a release of a version and returns its URL."""
    directory = lab.web / "k3os"
    directory.mkdir()
    address = f"{lab.plan.web}/k3os"

    def make(version: str) -> str:
        Releases(builds.version(version), directory, address, key).make(version)
        return address

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Print each step with its time, setup included; a failure with the machines' output."""
    report = yield
    title = (item.function.__doc__ or item.name).strip().splitlines()[0].rstrip(".")  # type: ignore[attr-defined]
    if "[" in item.name:
        title += f" [{item.name.partition('[')[2]}"
    spent = item.stash.get(SPENT, 0.0) + call.duration
    item.stash[SPENT] = spent
    if report.failed or report.skipped or report.when == "call":
        word = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}[report.outcome]
        _results.append((word, title, spent))
        print(f"\n{word:8} {spent:7.1f} s  {title}", flush=True)
    if report.failed:
        # now: the run may take hours more, or be killed
        print(report.longreprtext, flush=True)
        for name, text in _evidence():
            print(f"{name:-^80}\n{text}", flush=True)
    return report


SPENT = pytest.StashKey[float]()


def _evidence() -> Iterator[tuple[str, str]]:
    """The last console lines of every running machine, and of its k3s journal if ssh works."""
    for lab in _labs:
        for name, vm in lab.machines.items():
            lines = vm.console.text.splitlines()[-SHOWN_LINES:]
            yield f"console of {name} (all: {vm.log})", "\n".join(lines)
            try:
                yield f"k3s of {name}", Node(lab, name, _key[0]).journal("k3s")
            except CommandError as error:
                yield f"k3s of {name}", f"cannot be asked: {error}"


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """No progress characters, only the final counts: each step prints its own line."""
    if report.when == "call" or not report.passed:
        return report.outcome, "", ""
    return "", "", ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _results:
        return
    terminalreporter.section("steps")
    for word, title, seconds in _results:
        terminalreporter.write_line(f"{word:8} {seconds:7.1f} s  {title}")
    terminalreporter.write_line(f"serial logs: {LOGS}")
