"""Files are read ahead if there is an idle processor and enough memory."""

import os
from pathlib import Path

import pytest

from k3os.boot import prefetch


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / prefetch.LIST
    path.parent.mkdir(parents=True)
    path.write_text("usr/lib/k3os/prefetch\nusr/bin/missing\n")
    return tmp_path


@pytest.mark.parametrize(
    "processors,kib,reads",
    [(2, 2_000_000, True), (1, 2_000_000, False), (2, 500_000, False), (1, 500_000, False)],
)
def test_only_an_idle_processor_and_free_memory_are_used(
    image: Path, monkeypatch: pytest.MonkeyPatch, processors: int, kib: int, reads: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)))
    monkeypatch.setattr(prefetch, "_memory_kib", lambda: kib)
    pid = prefetch.start(str(image))
    assert bool(pid) is reads
    if pid:
        assert os.waitpid(pid, 0)[1] == 0


def test_an_image_without_a_list_is_none_the_worse(tmp_path: Path) -> None:
    assert prefetch.start(str(tmp_path)) == 0
