"""Every client stops reading an endless answer, and says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from k3os.datasource.query import Query
from k3os.datasource.service import Service
from k3os.errors import UserError
from k3os.generation.manifest import File
from k3os.install import config, iso
from k3os.k3s import fetch, ready
from k3os.k3s.source import Download
from k3os.k3s.trust import Trust
from k3os.phases.ssh_keys import FetchKeys, WriteKeys
from k3os.system import http
from k3os.upgrade import offer
from tests.unit.hostile_server import BLOCK, hostile

SMALL = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
SECONDS = 1.0


def quiet(*_: object) -> None:
    """Ignores lines and progress."""


def keys(url: str, directory: Path) -> object:
    node = type("Node", (), {"environment": {}})()
    writer = WriteKeys(None, str(directory / "keys"), [], {}, 0, 0)  # type: ignore[arg-type]
    return FetchKeys(None, url, writer).perform(node)  # type: ignore[arg-type]


def metadata(url: str, _: Path) -> object:
    return Service(Query(), url.rpartition("/")[0]).get("/f")


def release(url: str, _: Path) -> object:
    return offer.WebOffer(url, "amd64")


def file_of_a_release(url: str, directory: Path) -> object:
    found = offer.WebOffer.__new__(offer.WebOffer)
    found.url, found.timeout = url, 5.0
    found.manifest = type("Manifest", (), {"arch": "amd64"})()
    # a manifest without sizes
    found.write(File("k3s", "k3s", "0" * 64, 0), str(directory / "k3s"), quiet)
    return None


def artifact(url: str, directory: Path) -> object:
    base = url.rpartition("/")[0]
    return offer.fetch_verified(base, "f", "amd64", str(directory), quiet, quiet)


def executable(url: str, directory: Path) -> object:
    trust = Trust(insecure_http=True)
    return fetch.fetch(Download(url), "amd64", directory, trust=trust)


PATHS: dict[str, Callable[[str, Path], object]] = {
    "ssh_authorized_keys": keys,
    "config_url": lambda url, _: config.fetch(url, tries=1),
    "metadata": metadata,
    "a release": release,
    "a file of a release": file_of_a_release,
    "an artifact": artifact,
    "a signature": lambda url, _: offer.signature_beside(url),
    "sums of k3s": lambda url, _: fetch.published_sums("v1.33.1+k3s1", "amd64", tries=1),
    "k3s": executable,
    "an archive": lambda url, path: fetch.fetch_airgap([f"{url}.tar#sha256={'0' * 64}"], path),
    "an ISO": lambda url, path: iso.fetch(f"{url}#sha256={'0' * 64}", str(path), quiet),
    "the sum of an ISO": lambda url, _: iso.published_sum(url, "f"),
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for module, name in (
        *((offer, "LARGEST_FILE"), (iso, "LARGEST")),
        *((fetch, "LARGEST_K3S"), (fetch, "LARGEST_ARCHIVE")),
    ):
        assert isinstance(getattr(module, name), int)
        monkeypatch.setattr(module, name, SMALL)
    monkeypatch.setattr(iso, "free_memory", lambda: 1 << 40)


def within(address: str, path: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> UserError:
    monkeypatch.setenv("K3S_RELEASES", address)
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        PATHS[path](f"{address}/f", directory)
    assert time.monotonic() - began < 15
    return caught.value


@pytest.mark.parametrize("path", PATHS)
def test_a_body_without_an_end_is_too_large(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hostile(HEAD, BLOCK) as server:
        error = within(f"http://127.0.0.1:{server.port}", path, tmp_path, monkeypatch)
        assert server.sent < 40 * SMALL
    assert "is larger than" in str(error)
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= SMALL


@pytest.mark.parametrize("path", PATHS)
def test_headers_that_drip_end_with_the_deadline(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = http.Deadline
    monkeypatch.setattr(http, "Deadline", lambda seconds: real(min(seconds, SECONDS)))
    with hostile(b"HTTP/1.1 200 OK\r\n", b"X", pause=0.05) as server:
        error = within(f"http://127.0.0.1:{server.port}", path, tmp_path, monkeypatch)
    assert "is too slow: not over after 1 s" in str(error)


def test_a_kubelet_that_drips_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    real = http.Deadline
    monkeypatch.setattr(http, "Deadline", lambda seconds: real(min(seconds, SECONDS)))
    with hostile(b"HTTP/1.1 200 OK\r\n", b"X", pause=0.05) as server:
        assert not ready.agent_is_ready(f"http://127.0.0.1:{server.port}/healthz")
