"""The possible values of K3S=."""

from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.k3s.source import (
    VERSION,
    Auto,
    Download,
    LocalFile,
    Nothing,
    Release,
    machine_arch,
    parse_source,
    pinned,
    release_files,
    release_url,
)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("", Auto()),
        ("auto", Auto()),
        ("none", Nothing()),
        ("v1.33.1+k3s1", Release("v1.33.1+k3s1")),
        ("v1.34.0-rc1+k3s12", Release("v1.34.0-rc1+k3s12")),
        (f"v1.33.1+k3s1#sha256={'A' * 64}", Release("v1.33.1+k3s1", "a" * 64)),
        ("https://x.example/k3s", Download("https://x.example/k3s")),
        (f"http://x/k3s#sha256={'A' * 64}", Download("http://x/k3s", "a" * 64)),
        ("/usr/bin/k3s", LocalFile(Path("/usr/bin/k3s"))),
        ("./k3s", LocalFile(Path.cwd() / "k3s")),
    ],
)
def test_each_form_is_understood(text, source):
    assert parse_source(text) == source


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Auto", "use auto, none, a version"),
        ("latest", "use auto, none, a version"),
        ("ftp:k3s", "use auto, none, a version"),
        ("v1.33.1", "write it like v1.33.1+k3s1"),
        ("1.33", "write it like v1.33.1+k3s1"),
        ("v1.33.1-k3s1", "write it like v1.33.1+k3s1"),
        ("http://x/k3s#sha256=12", "write #sha256=<64 hex digits>"),
        ("http://x/k3s#sha256=", "write #sha256=<64 hex digits>"),
        ("http://x/k3s#", "write #sha256=<64 hex digits>"),
        (f"http://x/k3s#SHA256={'a' * 64}", "write #sha256=<64 hex digits>"),
        (f"http://x/k3s#sha512={'a' * 128}", "write #sha256=<64 hex digits>"),
        ("v1.33.1+k3s1#sha256=", "write #sha256=<64 hex digits>"),
    ],
)
def test_anything_else_is_an_error_with_a_remedy(text, hint):
    with pytest.raises(UserError) as caught:
        parse_source(text)
    assert caught.value.hint.startswith(hint)
    assert caught.value.where == "K3S"


def test_a_file_in_this_directory_needs_no_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-k3s").touch()
    assert parse_source("my-k3s") == LocalFile(tmp_path / "my-k3s")


def test_a_release_address_has_its_plus_escaped(monkeypatch):
    monkeypatch.setenv("K3S_RELEASES", "http://mirror/k3s/")
    assert release_url("v1.33.1+k3s1", "k3s") == "http://mirror/k3s/v1.33.1%2Bk3s1/k3s"


def test_every_architecture_has_its_files():
    assert release_files("amd64") == ("k3s", "sha256sum-amd64.txt")
    assert release_files("arm64") == ("k3s-arm64", "sha256sum-arm64.txt")
    assert release_files("arm") == ("k3s-armhf", "sha256sum-arm.txt")
    with pytest.raises(UserError, match="no k3s for 'riscv64'; use one of: amd64, arm64, arm"):
        release_files("riscv64")


def test_the_kernel_names_of_machines_are_translated():
    assert [machine_arch(name) for name in ("x86_64", "aarch64", "armv7l", "riscv64")] == [
        *("amd64", "arm64", "arm", "riscv64")
    ]


def test_the_pinned_version_is_a_version_and_its_hashes_are_hashes():
    assert VERSION.fullmatch(pinned().version)
    for version, sums in pinned().sums.items():
        assert VERSION.fullmatch(version)
        assert sums.keys() <= {"amd64", "arm64", "arm"}
        assert all(len(digest) == 64 for digest in sums.values())
