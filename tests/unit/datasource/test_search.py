"""The search: its order, its end, and how much time a source may take."""

import time
from pathlib import Path

import pytest

from k3os.config.schema import DATA_SOURCES
from k3os.datasource import platforms, query, search
from k3os.datasource.found import Found, NotThere, clean_hostname, clean_keys
from k3os.datasource.platforms import SOURCES, DataSource
from k3os.datasource.query import Query
from k3os.errors import UserError

from .conftest import KEY


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """name -> what its fetch does; put in what a test needs."""
    functions: dict[str, object] = {}
    monkeypatch.setattr(query, "fetch", functions.__getitem__)
    for name in "abc":
        monkeypatch.setitem(SOURCES, name, DataSource(name, f"platform {name}"))
    return functions


def gives(name: str, userdata: bytes = b"") -> object:
    return lambda _: Found(name, userdata=userdata)


def fails(error: Exception) -> object:
    def fetch(asked: Query) -> Found:
        raise error

    return fetch


def names(answers: list[search.Answer]) -> list[str]:
    return [answer.name for answer in answers]


def test_the_first_userdata_ends_the_search(sources: dict[str, object]) -> None:
    sources.update(a=gives("a"), b=gives("b", b"x"), c=gives("c", b"y"))
    assert names(search.search(["a", "b", "c"], print)) == ["a", "b"]
    assert names(search.search(["a", "b", "c"], print, ask_all=True)) == ["a", "b", "c"]


def test_a_source_that_fails_in_any_way_does_not_hide_the_next(sources: dict[str, object]) -> None:
    sources.update(a=fails(UserError("broken")), b=fails(ValueError("a bug")), c=gives("c", b"x"))
    answers = search.search(["a", "b", "c"], print)
    assert [each.is_broken for each in answers] == [True, True, False]
    assert answers[0].reason == "broken"
    assert answers[1].reason.startswith("ValueError in k3os/datasource/query.py:")


def test_not_being_there_is_nothing_broken(sources: dict[str, object]) -> None:
    sources.update(a=fails(NotThere("refused")))
    (answer,) = search.search(["a"], print)
    assert (answer.found, answer.is_broken, answer.reason) == (None, False, "refused")


def silent(asked: Query) -> Found:
    asked.address = "nowhere"
    asked.over.wait(30)
    return Found("late", userdata=b"too late")


def slow(asked: Query) -> Found:
    asked.answered.set()
    return silent(asked)


def test_a_source_that_does_not_answer_is_given_up_after_the_first_limit(
    sources: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "ANNOUNCE_SECONDS", 0.05)
    monkeypatch.setattr(query, "NOT_THERE_SECONDS", 0.1)
    sources.update(a=silent)
    said: list[str] = []
    started = time.monotonic()
    (answer,) = search.search(["a"], said.append)
    assert time.monotonic() - started < 5
    assert answer.found is None
    assert not answer.is_broken
    assert answer.reason.startswith("nowhere: no answer")
    assert said == ["waiting for cloud data from a (platform a), 60 s at most"]


def test_a_source_that_is_slow_is_given_up_after_the_second_limit(
    sources: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "ANNOUNCE_SECONDS", 0.02)
    monkeypatch.setattr(query, "NOT_THERE_SECONDS", 0.05)
    monkeypatch.setattr(query, "SLOW_SECONDS", 0.3)
    sources.update(a=slow, b=gives("b", b"x"))
    started = time.monotonic()
    answers = search.search(["a", "b"], lambda line: None)
    assert 0.3 <= time.monotonic() - started < 5
    assert answers[0].is_broken
    assert "was not done in" in answers[0].reason
    assert answers[1].found is not None


def test_the_limits_are_the_documented_ones() -> None:
    assert (query.NOT_THERE_SECONDS, query.SLOW_SECONDS) == (5, 60)


def test_the_names_of_the_schema_are_the_sources() -> None:
    assert set(DATA_SOURCES) == {"auto", *SOURCES}
    for name in SOURCES:
        assert callable(platforms.fetch(name))


def test_auto_without_a_known_platform_looks_at_media(tmp_path: Path) -> None:
    (tmp_path / "sys_vendor").write_text("QEMU\n")
    assert platforms.chosen(["auto"], str(tmp_path)) == ["nocloud", "configdrive"]
    assert platforms.chosen(["cdrom", "auto"], str(tmp_path)) == ["cdrom", "nocloud", "configdrive"]


def test_hostnames_and_keys_are_cleaned() -> None:
    assert clean_hostname(" node1.example\n") == "node1.example"
    assert clean_hostname("node1." + "a" * 64) == "node1"
    assert clean_hostname(None) == ""
    assert clean_hostname("no\x1b[2Jde1\ud800") == "no--2Jde1"
    assert clean_hostname("Rack_1 in the cellar") == "Rack-1"
    assert clean_keys([f"{KEY}\ud800", f"{KEY}\x1b[2J"]) == []
    assert clean_keys([f"{KEY}\n{KEY}\n# no key\n", "https://evil.example/keys"]) == [KEY]
