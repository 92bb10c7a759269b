"""The ISO that is downloaded before an installation: memory, checksums, broken connections."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from k3os.errors import UserError
from k3os.generation import signature
from k3os.install import iso
from k3os.system.http_failure import ChecksumError, HttpError
from k3os.system.run import run
from tests.unit.local_server import Site, content, cut_off, local_site, sha256, status
from tests.unit.tls import certificate, server_context

ISO = bytes(range(256)) * 500


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("SSL_CERT_FILE", certificate()[0])
    with local_site(server_context()) as site:
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
    [
        *("{}", "{}\n", "{}  k3os.iso\n", "{} *./k3os.iso\n", "SHA256 (k3os.iso) = {}\n"),
        f"{'0' * 64}  other\n{{}}  k3os.iso\n",
    ],
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
    assert said[0].startswith("k3os.iso has no sum")
    assert not any("as it should be" in line for line in said)


@pytest.mark.parametrize(
    "page",
    [
        *(content(b"<html>not here</html>"), content(b""), content(b"SHA256 (k3os.iso) = 12")),
        *(content(f"SHA512 (k3os.iso) = {'0' * 128}".encode()), status(403), status(500)),
    ],
)
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
    with pytest.raises(UserError, match="is not a checksum") as caught:
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


@pytest.fixture
def signed(medium: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mounted ISO whose manifest has all checksums and is signed with a key that this system
    trusts."""
    monkeypatch.setattr(iso, "MEDIUM", str(medium))
    monkeypatch.setattr(iso.os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    monkeypatch.setattr(iso, "MEMORY", str(tmp_path / "memory"))
    monkeypatch.setattr(iso, "fetch", lambda *_: "fetched")
    for name in ("mount", "mount_image", "unmount"):
        monkeypatch.setattr(iso.mounts, name, lambda *_: None)
    key = tmp_path / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    monkeypatch.setattr(signature, "IMAGE_KEYS", f"{key}.pub")
    monkeypatch.setattr(signature, "NODE_KEYS", str(tmp_path / "none"))
    archive = medium / "k3os/system/airgap/images.tar"
    archive.parent.mkdir()
    archive.write_bytes(b"images")
    paths = [f"boot/grub/k3os/{name}" for name in ("boot.img", "core.img", "efi.img")]
    sign(medium, key, [*paths, "k3os/system/airgap/images.tar"])
    return medium


def sign(medium: Path, key: Path, listed: list[str]) -> None:
    manifest = medium / "k3os/system/current/manifest.json"
    sums = {path: sha256((medium / path).read_bytes()) for path in listed}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "medium": sums}))
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", "k3os"]
    manifest.with_name("manifest.json.sig").write_bytes(run(command, stdin=manifest.read_bytes()))


HTTP = "http://192.0.2.1/k3os.iso"


def take(url: str = HTTP, *, insecure: bool = False) -> None:
    with iso.fetched(url, print, insecure=insecure) as what:
        assert what.versions["k3os"] == "0.2"


def test_an_iso_that_a_known_key_signed_is_taken_by_http(signed: Path) -> None:
    take()


def test_an_iso_that_nobody_signed_is_refused_where_a_key_is_known(signed: Path) -> None:
    (signed / "k3os/system/current/manifest.json.sig").unlink()
    for url in (HTTP, "https://x/k3os.iso"):
        with pytest.raises(UserError, match="is not signed"):
            take(url)
        take(f"{url}#sha256={'0' * 64}")
        take(url, insecure=True)


@pytest.mark.parametrize(
    "path",
    [
        "k3os/system/current/manifest.json",
        "boot/grub/k3os/efi.img",
        "boot/grub/k3os/core.img",
        "k3os/system/airgap/images.tar",
    ],
)
def test_what_is_not_what_was_signed_is_refused(signed: Path, path: str) -> None:
    (signed / path).write_bytes((signed / path).read_bytes() + b" ")
    with pytest.raises(UserError, match=r"has a wrong signature|is damaged"):
        take()


def test_an_archive_that_was_not_signed_is_refused(signed: Path) -> None:
    (signed / "k3os/system/airgap/more.tar").write_bytes(b"more")
    with pytest.raises(UserError, match=r"airgap/more.tar is not in the manifest"):
        take()


def test_a_signed_manifest_that_says_nothing_of_the_loaders_is_not_enough(
    signed: Path, tmp_path: Path
) -> None:
    sign(signed, tmp_path / "key", ["k3os/system/airgap/images.tar"])
    with pytest.raises(UserError, match=r"boot.img is not in the manifest"):
        take()


def test_without_a_key_an_iso_needs_a_sum_or_https(
    signed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(signature, "IMAGE_KEYS", str(tmp_path / "none"))
    with pytest.raises(UserError, match="can be changed on its way") as caught:
        take("http://joe:secret@192.0.2.1/k3os.iso")
    assert "secret" not in str(caught.value)
    take("https://x/k3os.iso")
    take(f"{HTTP}#sha256={'0' * 64}")
    take(insecure=True)
