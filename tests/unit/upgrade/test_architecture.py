"""A release for another architecture is reported as such, whatever medium it is on."""

import functools
import http.server
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.node import upgrade as command
from tests.serving import serving

WRONG = "is for arm64, this machine is amd64; take the right one"


def offer(source: str, scratch: Path) -> None:
    from contextlib import ExitStack

    with ExitStack() as stack:
        command.open_offer(source, "amd64", {"--insecure": "true"}, stack)
    assert not list(scratch.iterdir())


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setattr(command, "workplace", lambda options: str(directory))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return directory


@pytest.fixture
def url(release: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(release))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


def make_it_arm64(release: Path) -> None:
    manifest = json.loads((release / "k3os-manifest-amd64.json").read_text())
    (release / "k3os-manifest-arm64.json").write_text(json.dumps({**manifest, "arch": "arm64"}))
    (release / "k3os-manifest-amd64.json").unlink()


def test_a_directory_of_another_architecture_is_refused(release: Path, scratch: Path) -> None:
    offer(str(release), scratch)
    make_it_arm64(release)
    with pytest.raises(UserError, match=WRONG):
        offer(str(release), scratch)


def test_a_web_directory_of_another_architecture_is_refused(
    release: Path, url: str, scratch: Path
) -> None:
    offer(url, scratch)
    make_it_arm64(release)
    with pytest.raises(UserError, match=WRONG):
        offer(url, scratch)


def test_a_web_directory_without_any_release_is_still_not_found(
    release: Path, url: str, scratch: Path
) -> None:
    (release / "k3os-manifest-amd64.json").unlink()
    with pytest.raises(UserError, match="404"):
        offer(url, scratch)


@pytest.mark.parametrize("name", ["k3os-arm64.iso", "k3os-rootfs-arm64.tar.gz"])
def test_what_was_named_is_not_silently_replaced_by_what_lies_beside_it(
    url: str, scratch: Path, name: str
) -> None:
    offer(f"{url}/k3os-amd64.iso", scratch)
    with pytest.raises(UserError, match=f"{name}: {WRONG}"):
        offer(f"{url}/{name}", scratch)


def test_a_tree_and_a_manifest_that_lies_about_its_name_are_refused(
    release: Path, scratch: Path
) -> None:
    path = release / "k3os-manifest-amd64.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "arch": "arm64"}))
    with pytest.raises(UserError, match=WRONG):
        offer(str(release), scratch)
    current = release / "k3os/system/current"
    current.mkdir(parents=True)
    path.rename(current / "manifest.json")
    with pytest.raises(UserError, match=WRONG):
        offer(str(release), scratch)
