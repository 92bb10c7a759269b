"""The build as a whole: reproducible, interruptible, and with clear errors."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from k3os.image.settings import from_environment
from k3os.system.run import run

ROOT = Path(__file__).parents[2]
STUB = ROOT / "tests" / "stubs" / "k3s"
SECONDS = 900


def environment(directory: Path, **changes: str) -> dict[str, str]:
    """A build's environment with its own cache and artifacts."""
    wanted = {"KERNEL": "cloud", "K3S": "none", "CONFIG": "", "K3S_AIRGAP": "", "MIRROR": ""}
    wanted |= {"OPERATOR": ""}
    wanted |= {"CACHE": str(directory / "cache"), "ARTIFACTS": str(directory / "out")}
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), **wanted, **changes}


def start(env: dict[str, str], *prefix: str) -> subprocess.Popen[str]:
    # a test suite started in the background ignores SIGINT, and the build would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "k3os", "build"],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def built(directory: Path) -> Path:
    """The artifacts of a build with its own cache."""
    epoch = str(from_environment(os.environ).epoch)
    process = start(environment(directory, K3S=str(STUB), SOURCE_DATE_EPOCH=epoch))
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    return directory / "out"


def versions(artifacts: Path) -> set[tuple[str, str]]:
    """Name and version of each package that the SBOM lists."""
    listed = json.loads((artifacts / "k3os-amd64.spdx.json").read_text())["packages"]
    return {(each["name"], each.get("versionInfo", "")) for each in listed}


@pytest.mark.long
def test_two_builds_with_separate_caches_give_the_same_bytes(images, tmp_path):
    first, second = images.iso.parent, built(tmp_path / "second")
    if versions(first) != versions(second):  # the mirror got a newer package in between
        first, second = second, built(tmp_path / "third")
        assert versions(first) == versions(second)
    sums = (second / "sha256sum-amd64.txt").read_text()
    assert sums == (first / "sha256sum-amd64.txt").read_text()
    assert len(sums.splitlines()) == 13
    run(["sha256sum", "--check", "--quiet", "sha256sum-amd64.txt"], cwd=str(second))


class Mirror(http.server.BaseHTTPRequestHandler):
    """A mirror in trouble: 503 at once, or an answer that never comes."""

    stalls = False
    asked = threading.Event()

    def do_GET(self) -> None:
        self.asked.set()
        if self.stalls:
            time.sleep(120)
        self.send_error(503)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: a failure shows the test's own output."""


@contextmanager
def mirror(*, stalls: bool) -> Iterator[str]:
    handler = type("Handler", (Mirror,), {"stalls": stalls, "asked": threading.Event()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/debian"
        assert handler.asked.is_set(), "the build never asked the mirror"
    finally:
        server.shutdown()
        server.server_close()


def test_a_mirror_that_answers_503_is_named_with_the_log(tmp_path):
    with mirror(stalls=False) as url:
        process = start(environment(tmp_path, MIRROR=url))
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"MIRROR={url}" in output
    assert "503" in output
    assert "Traceback" not in output
    assert list((tmp_path / "cache" / "base").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_stops_at_once_and_leaves_nothing(tmp_path, number):
    with mirror(stalls=True) as url:
        process = start(environment(tmp_path, MIRROR=url))
        end = time.monotonic() + 60
        while not list(tmp_path.glob("cache/base/.unfinished-*")):
            assert time.monotonic() < end and process.poll() is None, "the build did not start"
            time.sleep(0.1)
        time.sleep(3)
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "interrupted" in output
    assert list((tmp_path / "cache" / "base").iterdir()) == []
    assert str(tmp_path).encode() not in run(["ps", "-eo", "args"])


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
def test_a_full_disk_is_named(images, tmp_path):
    (tmp_path / "out").mkdir()
    kept = from_environment(os.environ)
    env = environment(tmp_path, CACHE=str(kept.cache), K3S=str(STUB))
    script = 'mount -t tmpfs -o size=20M tmpfs "$ARTIFACTS" && exec "$@"'
    process = start(env, "unshare", "--mount", "sh", "-c", script, "sh")
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert f"no space left on the disk of {tmp_path / 'out'}" in output


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hostname: [a\n", "config.yaml:1:11: "),
        ("- hostname\n", "config.yaml:1:1: "),
        ("k3os:\n\ttoken: x\n", "config.yaml:2:1: "),
        ("k3os:\n  sysctls: 5\n", "config.yaml:2:12: k3os.sysctls: "),
        ("ssh_authorized_keys: {a: b}\n", "config.yaml:1:22: ssh_authorized_keys: "),
    ],
)
def test_a_config_with_an_error_is_refused_with_file_line_and_key(tmp_path, text, line):
    config = tmp_path / "config.yaml"
    config.write_text(text)
    process = start(environment(tmp_path, CONFIG=str(config)))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert line in output
    assert "CONFIG: the config.yaml has errors" in output
    assert not (tmp_path / "cache").exists()
