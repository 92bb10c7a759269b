"""The ISO that is fetched before an installation: memory, checksums, broken connections."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from k3os.errors import UserError
from k3os.install import iso
from k3os.system.http_failure import ChecksumError, HttpError
from tests.unit.local_server import Site, content, cut_off, local_site, sha256, status

ISO = bytes(range(256)) * 500


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with local_site() as site:
        yield site


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/proc/meminfo of a machine with plenty of it."""
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 1000000 kB\nMemAvailable:   500000 kB\n")
    monkeypatch.setattr(iso, "MEMINFO", str(path))
    return path


@pytest.fixture
def target(tmp_path: Path, memory: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


def fetch(url: str, target: Path) -> list[str]:
    said: list[str] = []
    path = iso.fetch(url, str(target), said.append)
    assert Path(path).read_bytes() == ISO
    return said


def test_a_sum_behind_the_address_is_compared_and_nothing_beside_it_is_asked_for(
    site: Site, target: Path
) -> None:
    url = site.page("/k3os.iso", content(ISO))
    assert f"k3os.iso: sha256 {sha256(ISO)}, as it should be" in fetch(
        f"{url}#sha256={sha256(ISO).upper()}", target
    )
    assert [path for path, _ in site.requests] == ["/k3os.iso"]


@pytest.mark.parametrize(
    "text",
    ["{}", "{}\n", "{}  k3os.iso\n", "{} *./k3os.iso\n", f"{'0' * 64}  other\n{{}}  k3os.iso\n"],
)
def test_a_sum_beside_the_iso_is_compared(site: Site, target: Path, text: str) -> None:
    url = site.page("/d/k3os.iso", content(ISO))
    site.page("/d/k3os.iso.sha256", content(text.format(sha256(ISO)).encode()))
    assert "as it should be" in fetch(url, target)[-1]


def test_the_sum_beside_it_is_asked_for_with_the_same_query_and_password(
    site: Site, target: Path
) -> None:
    site.page("/k3os.iso?key=1", content(ISO))
    site.page("/k3os.iso.sha256?key=1", content(sha256(ISO).encode()))
    url = f"{site.url.replace('//', '//joe:secret@')}/k3os.iso?key=1"
    said = fetch(url, target)
    assert all("Authorization" in headers for _, headers in site.requests)
    assert not any("secret" in line for line in said)


def test_without_any_sum_it_is_said_that_nothing_was_verified(site: Site, target: Path) -> None:
    said = fetch(site.page("/k3os.iso", content(ISO)), target)
    assert said[0].startswith("k3os.iso cannot be verified")
    assert not any("as it should be" in line for line in said)


@pytest.mark.parametrize("page", [content(b"<html>not here</html>"), status(403)])
def test_a_sum_that_cannot_be_understood_or_read_stops_it(
    site: Site, target: Path, page: object
) -> None:
    url = site.page("/k3os.iso", content(ISO))
    site.page("/k3os.iso.sha256", page)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        fetch(url, target)
    assert caught.value.where == f"{url}.sha256"
    assert os.listdir(target) == []


def test_a_sum_file_of_other_files_stops_it(site: Site, target: Path) -> None:
    url = site.page("/k3os.iso", content(ISO))
    site.page("/k3os.iso.sha256", content(f"{'0' * 64}  a\n{'1' * 64}  b\n".encode()))
    with pytest.raises(UserError, match=r"has no sum of k3os.iso"):
        fetch(url, target)


@pytest.mark.parametrize("beside", [True, False])
def test_a_wrong_sum_refuses_with_both_sums_and_removes_the_file(
    site: Site, target: Path, beside: bool
) -> None:
    url = site.page("/k3os.iso", content(ISO))
    site.page("/k3os.iso.sha256", content(b"0" * 64))
    with pytest.raises(ChecksumError, match=f"expected sha256 {'0' * 64}, got {sha256(ISO)}"):
        fetch(url if beside else f"{url}#sha256={'0' * 64}", target)
    assert os.listdir(target) == []


def test_a_fragment_that_is_no_sum_is_refused_before_anything_is_asked_for(
    site: Site, target: Path
) -> None:
    with pytest.raises(UserError, match="is no checksum") as caught:
        fetch(f"{site.url}/k3os.iso#md5=1", target)
    assert caught.value.where == "iso_url"
    assert site.requests == []


def test_a_broken_connection_is_said_and_resumed(site: Site, target: Path) -> None:
    url = site.page("/k3os.iso", cut_off(ISO, 70000, etag='"1"'), content(ISO, etag='"1"'))
    said = fetch(url, target)
    assert f"the connection ended after 70000 of {len(ISO)} bytes; trying again" in said
    assert site.ranges()[1:] == [None, "bytes=70000-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(site: Site, target: Path) -> None:
    old = b"o" * len(ISO)
    url = site.page("/k3os.iso", cut_off(old, 70000, etag='"1"'), content(ISO, etag='"2"'))
    fetch(url, target)


def test_a_server_that_stays_away_leaves_no_file(site: Site, target: Path) -> None:
    url = site.page("/k3os.iso", cut_off(ISO, 70000, etag='"1"'), status(503))
    with pytest.raises(HttpError, match="503"):
        fetch(url, target)
    assert len(site.requests) == 1 + iso.TRIES
    assert os.listdir(target) == []


def test_what_does_not_fit_into_memory_is_refused_with_what_is_missing(
    site: Site, target: Path, memory: Path
) -> None:
    memory.write_text(f"MemAvailable: {(iso.RESERVE + 100_000) // 1024} kB\n")
    url = site.page("/k3os.iso", content(b"x" * 2_100_000))
    with pytest.raises(UserError) as caught:
        fetch(url, target)
    assert "the ISO has 2 MB, but there is memory for 0 MB only: 2 MB are missing" in str(
        caught.value
    )
    assert os.listdir(target) == []


def test_every_tenth_is_said_once_without_a_bar() -> None:
    said: list[str] = []
    watch = iso.Watch("k3os.iso", 10**9, said.append, None, "http://x")
    for done in range(0, 100_000_001, 1_000_000):
        watch(done, 100_000_000)
    assert said == [f"fetching k3os.iso: {part} % of 100 MB" for part in range(10, 101, 10)]


def test_without_a_length_the_amount_is_said_and_the_memory_is_watched() -> None:
    said: list[str] = []
    watch = iso.Watch("k3os.iso", 120 << 20, said.append, None, "http://x")
    with pytest.raises(UserError, match="at least"):
        for done in range(0, 1 << 30, 1 << 20):
            watch(done, None)
    assert said == ["fetching k3os.iso: 52 MB", "fetching k3os.iso: 105 MB"]


def test_a_bar_is_drawn_where_one_can_be() -> None:
    drawn: list[tuple[str, int, int]] = []
    watch = iso.Watch("x.iso", 100, print, lambda *state: drawn.append(state), "http://x")
    watch(5, 10)
    assert drawn == [("x.iso", 5, 10)]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://h/a/k3os-amd64.iso?x=/y", "k3os-amd64.iso"),
        ("http://h/a%2Fb", "b"),
        ("http://h/", "k3os.iso"),
        ("http://h/a/..", "k3os.iso"),
    ],
)
def test_the_file_is_called_as_in_the_address(address: str, name: str) -> None:
    assert iso._name(address) == name


def test_an_iso_of_another_architecture_is_refused(
    medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iso, "MEDIUM", str(medium))
    monkeypatch.setattr(iso.os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    assert iso._source("https://joe:secret@x/k3os.iso").arch == "amd64"
    manifest = medium / "k3os/system/current/manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "arch": "arm64"}))
    with pytest.raises(UserError, match="this ISO is for arm64, the machine is amd64") as caught:
        iso._source("https://joe:secret@x/k3os.iso")
    assert "secret" not in str(caught.value)
