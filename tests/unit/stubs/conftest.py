"""The k3s stub, with a directory in place of /."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

STUB = Path(__file__).parents[2] / "stubs" / "k3s"
OLD, NEW = "v1.22.3+k3s1", "v1.33.1+k3s1"
NOBODY = 65534
# only a failure takes this long, no matter how busy the host is
SECONDS = 120


@dataclass
class Answer:
    code: int
    out: str
    err: str


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Stub:
    """root: in place of /. started: `server` and `agent` processes that still run."""

    root: Path
    version: str = NEW
    port: int = field(default_factory=free_port)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        ours = {"K3S_STUB_ROOT": str(self.root), "K3S_STUB_VERSION": self.version}
        return {"PATH": os.environ["PATH"], **ours, **more}

    def command(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, str(STUB), *words]

    def run(self, *words: str, anyone: bool = False, **environment: str) -> Answer:
        """anyone: as a user without privileges."""
        command = self.command(words)
        if anyone and os.getuid() == 0:
            drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            command = [*drop, *command]
        done = subprocess.run(
            command,
            env=self.environment(environment),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, until: str = "is up and running", **environment: str) -> str:
        """Start a server or an agent, and wait until it says so. Returns its output."""
        kubelet = f"--kubelet-arg=healthz-port={free_port()}"
        port = "https-listen-port" if words[0] == "server" else "lb-server-port"
        command = self.command((words[0], f"--{port}={self.port}", kubelet, *words[1:]))
        log = self.root / f"log-{len(self.started)}"
        with open(log, "w") as file:
            process = subprocess.Popen(
                command, env=self.environment(environment), stdout=file, stderr=file, text=True
            )
        self.started.append(process)
        end = time.monotonic() + SECONDS
        while until not in (said := log.read_text()):
            assert process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.02)
        return said

    def stop(self) -> None:
        while self.started:
            process = self.started.pop()
            process.send_signal(signal.SIGTERM)
            process.wait()

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def config(self, *, mode: int = 0o644, drop_in: str = "", **keys: object) -> Path:
        """Write k3s' configuration file, or one next to it; JSON is YAML. `node_name` is
        node-name."""
        name = f"config.yaml.d/{drop_in}" if drop_in else "config.yaml"
        text = json.dumps({key.replace("_", "-"): value for key, value in keys.items()})
        return self.write(f"etc/rancher/k3s/{name}", text + "\n", mode)

    def given(self) -> list[str]:
        """The settings that the server or agent used, as `flag=value`."""
        return (self.root / "run/k3s-stub/given").read_text().splitlines()


@pytest.fixture
def make() -> Iterator[Callable[..., Stub]]:
    """A stub of a version; everybody may read its directory."""
    made: list[Stub] = []

    def of(version: str = NEW) -> Stub:
        root = Path(tempfile.mkdtemp(prefix="k3s-stub-"))
        root.chmod(0o755)
        made.append(Stub(root, version))
        return made[-1]

    yield of
    for stub in made:
        stub.stop()
        shutil.rmtree(stub.root)


@pytest.fixture
def old(make: Callable[..., Stub]) -> Stub:
    return make(OLD)


@pytest.fixture
def new(make: Callable[..., Stub]) -> Stub:
    return make(NEW)
