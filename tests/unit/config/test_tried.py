"""The record of a configuration that is tried: the earlier one is restored, whatever happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k3os.config import tried
from k3os.system import files


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tried, "TRIED", str(tmp_path / "state/tried.json"))
    return tmp_path / "state/config.d/50-own.yaml"


class PowerCut(BaseException):
    pass


@pytest.mark.parametrize("former", [b"a: b\n", b"", b"caf\xe9: \xff\n", None])
def test_what_was_there_is_back_byte_for_byte(place: Path, former: bytes | None) -> None:
    if former is not None:
        place.parent.mkdir(parents=True)
        place.write_bytes(former)
    tried.begin(str(place), b"new\n")
    assert place.read_bytes() == b"new\n"
    assert place.stat().st_mode & 0o777 == Path(tried.TRIED).stat().st_mode & 0o777 == 0o600
    assert tried.restore() == str(place)
    assert (place.read_bytes() if place.exists() else None) == former
    assert tried.restore() == ""


def test_what_is_kept_stays(place: Path) -> None:
    tried.begin(str(place), b"new\n")
    assert tried.keep() == str(place)
    assert tried.restore() == tried.keep() == ""
    assert place.read_bytes() == b"new\n"


@pytest.mark.parametrize("steps", range(6))
def test_a_power_cut_at_any_step_leaves_a_way_back(
    place: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """steps: how many files are written or removed before the power cut."""
    place.parent.mkdir(parents=True)
    place.write_text("before")
    left = steps

    def cut(real: object) -> object:
        def step(*words: object, **more: object) -> object:
            nonlocal left
            if not left:
                raise PowerCut
            left -= 1
            return real(*words, **more)  # type: ignore[operator]

        return step

    with monkeypatch.context() as context:
        for name in ("atomic_write", "durable_remove"):
            context.setattr(tried, name, cut(getattr(files, name)))
        try:
            tried.begin(str(place), b"new")
            tried.restore()
        except PowerCut:
            pass
    tried.restore()  # as the boot does
    assert place.read_text() == "before"
    assert not Path(tried.TRIED).exists()


@pytest.mark.parametrize(
    "record",
    [
        "",
        "[]",
        "{}",
        '{"place": 1, "former": ""}',
        '{"place": "/x", "former": 5}',
        '{"place": "/x"}',
    ],
)
def test_a_record_that_somebody_changed_is_none(place: Path, record: str) -> None:
    place.parent.mkdir(parents=True)
    Path(tried.TRIED).write_text(record)
    assert tried.known() == {}
    assert tried.restore() == ""


def test_the_record_says_whether_k3s_was_restarted(place: Path) -> None:
    tried.begin(str(place), b"new", restart=True)
    assert json.loads(Path(tried.TRIED).read_text())["restart"] is True
