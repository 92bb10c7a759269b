"""What `make test-real` is given: without a k3s it says what it needs, and where to get it."""

import os
import sys

import pytest

from k3os.errors import UserError
from k3os.k3s.source import RELEASES
from k3os.system.run import CommandError, run
from scripts.docs import ROOT
from tests.real.given import ask, given, later, order, pause_image, relabelled
from tests.real.web import crashing, publish_k3s

HELP_1_22 = """\
   --pause-image value    (agent/runtime) Customized pause image (default: "rancher/pause:3.1")
   --snapshotter value    (agent/runtime) Override the snapshotter (default: "overlayfs")
"""
HELP_1_33 = '   --pause-image value  (agent) Image (default: "rancher/mirrored-pause:3.6")\n'


def pytest_of_the_lab(**environ):
    command = [sys.executable, "-m", "pytest", "tests/real", "-q", "-s", "-p", "no:cacheprovider"]
    run(command, cwd=str(ROOT), env={"K3S": None, "K3S_NEXT": None, **environ}, timeout=120)


def test_without_a_k3s_the_target_says_what_to_give_and_fails():
    with pytest.raises(CommandError) as caught:
        pytest_of_the_lab()
    said = caught.value.output.decode()
    assert caught.value.returncode not in (0, 5)
    assert "make test-real K3S=<path>" in said
    assert f"{RELEASES}/" in said
    assert "Traceback" not in said


def test_a_path_that_is_none_is_told_with_its_variable():
    with pytest.raises(CommandError) as caught:
        pytest_of_the_lab(K3S="/nowhere/k3s")
    assert "K3S: /nowhere/k3s: No such file" in caught.value.output.decode()


def test_make_has_the_target_and_test_does_not_run_it():
    command = ["make", "-n", "-C", str(ROOT)]
    assert b"pytest tests/real" in run([*command, "test-real"])
    assert b"tests/real" not in run([*command, "test"])


def test_nothing_of_it_is_collected_when_all_tests_are():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    said = run([*command, "tests/real/../real", "tests/unit/real"], cwd=str(ROOT), check=False)
    assert b"tests/real/test_1_live.py" in said, "asked for by name it is"
    said = run([*command, "tests", "--ignore=tests/unit", "--ignore=tests/operator"], cwd=str(ROOT))
    assert b"tests/vm/" in said
    assert b"tests/real/" not in said


def test_the_stub_and_programs_that_are_no_k3s_are_refused(tmp_path):
    with pytest.raises(UserError, match="is a script"):
        ask(ROOT / "tests" / "stubs" / "k3s", "K3S")
    with pytest.raises(UserError, match="is not k3s"):
        given({"K3S": os.path.realpath(sys.executable)})


@pytest.mark.parametrize(
    ("text", "image"),
    [(HELP_1_22, "rancher/pause:3.1"), (HELP_1_33, "rancher/mirrored-pause:3.6"), ("", "")],
)
def test_the_pause_image_is_the_one_that_k3s_itself_names(text, image):
    assert pause_image(text) == image


@pytest.mark.parametrize("version", ["v1.22.3+k3s1", "v1.33.9+k3s2", "v1.34.10+k3s1"])
def test_another_label_is_newer_and_has_the_same_length(version):
    new, newer = later(version), later(version, 2)
    assert order(version) < order(new) < order(newer)
    assert len(new) == len(newer) == len(version)


def test_a_relabelled_executable_says_the_other_version_and_nothing_else_changes(tmp_path):
    (tmp_path / "k3s").write_bytes(b"\x7fELF..v1.22.3+k3s1..")
    data = relabelled(tmp_path / "k3s", "v1.22.3+k3s1", "v1.22.4+k3s1")
    assert data == b"\x7fELF..v1.22.4+k3s1.."
    with pytest.raises(UserError, match="K3S_NEXT"):
        relabelled(tmp_path / "k3s", "v1.22.9+k3s1", "v1.22.4+k3s1")


def test_a_published_k3s_is_a_release_that_k3os_fetches(tmp_path, monkeypatch):
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    from k3os.k3s.fetch import fetch
    from k3os.k3s.source import Release
    from k3os.k3s.trust import Trust
    from tests.serving import serving

    version = "v1.22.9+k3s1"
    (tmp_path / "target").mkdir()
    publish_k3s(tmp_path / "web", version, crashing(version))

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "web"))

        def log_message(self, *_):
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        monkeypatch.setenv("K3S_RELEASES", f"http://127.0.0.1:{server.server_port}/k3s")
        found = fetch(
            Release(version), "amd64", tmp_path / "target", trust=Trust(insecure_http=True)
        )
    assert found.version == version
    assert found.path.read_bytes() == crashing(version)
