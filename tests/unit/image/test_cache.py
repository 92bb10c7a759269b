"""Stages: complete or absent, whatever happens to the build."""

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from k3os.errors import UserError
from k3os.image.cache import KEEP_PER_STAGE, Cache, digest, file_digest
from k3os.image.progress import Progress


@pytest.fixture
def progress(tmp_path: Path) -> Iterator[Progress]:
    with Progress(tmp_path / "build.log", Console(record=True, width=200)) as progress:
        yield progress


def write(text: str, directory: Path) -> None:
    (directory / "result").write_text(text)


def test_a_stage_is_built_once_per_key(tmp_path: Path, progress: Progress) -> None:
    cache = Cache(tmp_path / "cache", progress)
    built: list[str] = []

    def build(directory: Path) -> None:
        built.append(directory.name)
        write("one", directory)

    with cache.locked():
        first = cache.stage("s", "k1", build)
        assert cache.stage("s", "k1", build) == first
        assert cache.stage("s", "k2", build) != first
    assert len(built) == 2
    assert (first / "result").read_text() == "one"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("x")])
def test_an_interrupted_stage_leaves_nothing_and_is_built_again(
    tmp_path: Path, progress: Progress, error: BaseException
) -> None:
    cache = Cache(tmp_path / "cache", progress)

    def fail(directory: Path) -> None:
        write("half", directory)
        raise error

    with cache.locked():
        with pytest.raises(type(error)):
            cache.stage("s", "k", fail)
        assert list((tmp_path / "cache" / "s").iterdir()) == []
        stage = cache.stage("s", "k", lambda directory: write("whole", directory))
    assert (stage / "result").read_text() == "whole"


def _build_forever(directory: Path, log: Path, started: Path) -> None:
    def build(stage: Path) -> None:
        write("half", stage)
        started.touch()
        time.sleep(60)

    with Progress(log) as progress:
        cache = Cache(directory, progress)
        with cache.locked():
            cache.stage("s", "k", build)


def start_build(tmp_path: Path) -> multiprocessing.Process:
    started = tmp_path / "started"
    process = multiprocessing.get_context("fork").Process(
        target=_build_forever, args=(tmp_path / "cache", tmp_path / "other.log", started)
    )
    process.start()
    end = time.monotonic() + 20
    while not started.exists():
        assert time.monotonic() < end, "the other build did not start"
        time.sleep(0.01)
    return process


def test_after_a_killed_build_the_next_one_sweeps_and_succeeds(
    tmp_path: Path, progress: Progress
) -> None:
    process = start_build(tmp_path)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    cache = Cache(tmp_path / "cache", progress)
    with cache.locked():
        assert list((tmp_path / "cache" / "s").iterdir()) == []
        stage = cache.stage("s", "k", lambda directory: write("whole", directory))
    assert (stage / "result").read_text() == "whole"


def test_a_second_build_says_for_whom_it_waits_and_then_goes_on(
    tmp_path: Path, progress: Progress
) -> None:
    process = start_build(tmp_path)
    assert process.pid is not None
    signal.signal(signal.SIGALRM, lambda number, frame: process.kill())
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    with Cache(tmp_path / "cache", progress).locked():
        assert not process.is_alive() or process.join(5) is None
    text = progress.console.export_text()
    assert f"process {process.pid}" in text
    assert "waiting" in text


def test_a_full_disk_is_said_in_plain_words(tmp_path: Path, progress: Progress) -> None:
    def fail(directory: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(directory))

    with Cache(tmp_path / "cache", progress).locked(), pytest.raises(UserError) as caught:
        Cache(tmp_path / "cache", progress).stage("s", "k", fail)
    assert "no space left" in str(caught.value)
    assert "MiB free" in str(caught.value)


def test_only_the_stages_used_last_are_kept(tmp_path: Path, progress: Progress) -> None:
    cache = Cache(tmp_path / "cache", progress)
    with cache.locked():
        for number in range(KEEP_PER_STAGE + 2):
            stage = cache.stage("s", f"k{number}", lambda directory: write("x", directory))
            os.utime(stage, (number, number))
        names = {path.name for path in (tmp_path / "cache" / "s").iterdir()}
    assert len(names) == KEEP_PER_STAGE
    assert f"k{KEEP_PER_STAGE + 1}" in names


def test_a_digest_sees_content_names_and_the_executable_bit(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    file = directory / "f"
    file.write_text("1")
    seen = {file_digest(directory)}
    file.chmod(0o755)
    seen.add(file_digest(directory))
    file.rename(directory / "g")
    seen.add(file_digest(directory))
    (directory / "g").write_text("2")
    seen.add(file_digest(directory))
    assert len(seen) == 4
    (directory / "__pycache__").mkdir()
    (directory / "__pycache__" / "x.pyc").write_text("")
    assert file_digest(directory) in seen
    assert digest("a", "b") != digest("ab") != digest(["a"], "b")
