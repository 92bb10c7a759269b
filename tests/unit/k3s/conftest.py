"""A site with the layout of the k3s releases, and an executable that reports its version."""

import json

import pytest

from tests.unit.local_server import content, local_site, sha256
from tests.unit.tls import certificate, server_context

VERSION = "v9.8.7+k3s1"
K3S = f"#!/bin/sh\necho 'k3s version {VERSION} (abcdef)'\n".encode() + b"#" * 20000


class Releases:
    """The release VERSION; body is its executable for amd64."""

    def __init__(self, site):
        self.site = site
        self.body = K3S

    def path(self, name):
        return f"/v9.8.7%2Bk3s1/{name}"

    def publish(self, *pages, sums=None):
        names = {"amd64": "k3s", "arm64": "k3s-arm64", "arm": "k3s-armhf"}
        self.site.page(self.path("k3s"), *(pages or [content(self.body)]))
        for arch, name in names.items():
            text = f"{'a' * 64}  k3s-airgap-images-{arch}.tar\n{sha256(self.body)}  {name}\n"
            self.site.page(
                self.path(f"sha256sum-{arch}.txt"),
                content(sums if sums is not None else text.encode()),
            )

    def fetched(self):
        return [path.rpartition("/")[2] for path, _ in self.site.requests]


@pytest.fixture
def quick(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def site(quick, monkeypatch):
    """Over https, with a certificate that we trust."""
    monkeypatch.setenv("SSL_CERT_FILE", certificate()[0])
    with local_site(server_context()) as site:
        yield site


@pytest.fixture
def plain_site(quick):
    with local_site() as site:
        yield site


@pytest.fixture
def lock(tmp_path_factory, monkeypatch):
    """Our own pinned.json: lock(sha256, version) records a hash for amd64."""
    path = tmp_path_factory.mktemp("lock") / "pinned.json"
    monkeypatch.setattr("k3os.k3s.source.PINNED", path)

    def write(sha256=None, version=VERSION):
        sums = {version: {"amd64": sha256}} if sha256 else {}
        path.write_text(json.dumps({"version": VERSION, "sums": sums}))
        return path

    write()
    return write


@pytest.fixture
def releases(site, lock, monkeypatch):
    monkeypatch.setenv("K3S_RELEASES", site.url)
    releases = Releases(site)
    releases.publish()
    return releases


@pytest.fixture
def mirror(plain_site, lock, monkeypatch):
    """The same over http, where a man in the middle can change both file and checksum."""
    monkeypatch.setenv("K3S_RELEASES", plain_site.url)
    releases = Releases(plain_site)
    releases.publish()
    return releases
