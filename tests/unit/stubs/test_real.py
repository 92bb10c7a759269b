"""The stub and a real k3s of the same version, side by side: `K3S_REAL=PATH pytest …`.

The real one runs without privileges, in its own directory, and starts no cluster.
"""

import os
import re
import runpy
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.stubs.conftest import NOBODY, STUB, Answer

REAL = os.environ.get("K3S_REAL", "")
pytestmark = pytest.mark.skipif(not REAL, reason="K3S_REAL names no k3s")
SECRET = "token: secret\n"
# both must say the same: configuration, its mode, command
SAME = (
    ("", 0o644, ("server", "--unknown")),
    ("", 0o644, ("agent", "--cluster-cidr=10.0.0.0/8")),
    ("", 0o644, ("server",)),
    ("", 0o644, ("bogus",)),
    (SECRET, 0o000, ("kubectl", "version", "--client")),
    (SECRET, 0o000, ("crictl", "ps")),
    (SECRET, 0o000, ("server",)),
    (SECRET, 0o644, ("etcd-snapshot", "save")),
    (SECRET, 0o644, ("etcd-snapshot", "ls")),
    ("cluster-cidr: 10.0.0.0/8\n", 0o644, ("agent",)),
    ("no-such-key: 1\n", 0o644, ("server",)),
    ("no-such-key: 1\n", 0o644, ("etcd-snapshot", "save")),
)


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="k3s-real-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def run(program: str, place: Path, *words: str, **more: str) -> Answer:
    command = [program, *words]
    if os.getuid() == 0:
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        command = [*drop, *command]
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), **more}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return Answer(done.returncode, done.stdout, done.stderr)


def version(place: Path) -> str:
    found = re.search(r"v\d+\.\d+\.\d+\+k3s\d+", run(REAL, place, "--version").out)
    assert found
    return found[0]


def fatal(answer: Answer) -> list[str]:
    """The fatal messages, without the time."""
    return re.findall(r'level=fatal msg="(.*)"', answer.err)


@pytest.mark.parametrize(("text", "mode", "words"), SAME)
def test_both_end_with_the_same_words(place, text, mode, words):
    config = place / "config.yaml"
    config.write_text(text)
    config.chmod(mode)
    told = {"K3S_CONFIG_FILE": str(config)}
    ours = {"K3S_STUB_VERSION": version(place)}
    real = run(REAL, place, *words, **told)
    stub = run(str(STUB), place, *words, **told, **ours)
    assert (stub.code, fatal(stub)) == (real.code, fatal(real))
    if real.out.startswith("Incorrect Usage"):
        assert stub.out.splitlines()[0] == real.out.splitlines()[0]


@pytest.mark.parametrize(
    "command", ["server", "agent", "etcd-snapshot", "etcd-snapshot save", "etcd-snapshot prune"]
)
def test_both_have_the_same_flags(place, command, monkeypatch):
    """Except flags that the real one hides."""
    monkeypatch.setenv("K3S_STUB_VERSION", version(place))
    stub = runpy.run_path(str(STUB))
    real: dict[str, bool] = {}
    for line in run(REAL, place, *command.split(), "--help").out.splitlines():
        if line.startswith("   -"):
            names = re.split(r"\s{2,}", line.strip())[0]
            has_value = bool(re.search(r" (value|FILE)", names))
            real.update((name, has_value) for name in re.findall(r"--?([a-z0-9-]+)", names))
    tables = {name: stub["flags"](text) for name, text in stub["snapshot_tables"]().items()}
    ours = {
        "server": stub["flags"](stub["COMMON"] + stub["SERVER"]),
        "agent": stub["flags"](stub["COMMON"] + stub["AGENT"]),
        **{f"etcd-snapshot {name}".strip(): table for name, table in tables.items()},
    }[command]
    assert {name: has_value for name, has_value in real.items() if name not in ("help", "h")} == {
        name: kind != "?" for name, (_, kind) in ours.items() if name in real
    }
    assert {name for name in ours if name not in real} <= {
        *("airgap-extra-registry", "disable-selinux", "kine-tls", "disable-agent"),
        *("disable-apiserver", "disable-controller-manager", "disable-etcd"),
        *("kube-controller-arg", "kube-cloud-controller-arg"),
    }
