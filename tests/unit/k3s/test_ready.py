"""Whether k3s is ready, and waiting for it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from k3os.k3s import ready
from tests.unit.local_server import content, local_site


class Clock:
    """Time that only advances in sleep()."""

    def __init__(self, ready_at: float) -> None:
        self.now = 0.0
        self.ready_at = ready_at
        self.logged: list[str] = []
        self.said: list[str] = []
        ready.wait_until_ready(
            lambda: self.now >= self.ready_at,
            log=self.logged.append,
            say=self.said.append,
            monotonic=lambda: self.now,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_k3s_that_is_ready_is_not_waited_for() -> None:
    clock = Clock(0)
    assert (clock.now, clock.logged, clock.said) == (0, [], [])


def test_the_journal_hears_of_a_long_wait_each_minute_and_the_console_once() -> None:
    clock = Clock(1500)
    assert 1500 <= clock.now <= 1500 + ready.POLL_SECONDS
    assert clock.logged[:2] == [
        "k3s is not ready after 1 min; still waiting",
        "k3s is not ready after 2 min; still waiting",
    ]
    assert len(clock.logged) == 24
    assert clock.said == ["k3s is not ready after 10 minutes; see `journalctl -u k3s`"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("printf ok", True),
        ("echo '[+]ping ok'; echo 'readyz check failed'; exit 1", False),
        ("printf starting", False),
        ('[ "$KUBECONFIG $*" = "$0.yaml get --raw=/readyz" ] && printf ok', True),
    ],
)
def test_a_server_is_ready_when_its_api_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, expected: bool
) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!/bin/sh\n{answer}\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert not ready.server_is_ready(f"{kubectl}.yaml"), "k3s has written no kubeconfig yet"
    Path(f"{kubectl}.yaml").touch()
    assert ready.server_is_ready(f"{kubectl}.yaml") == expected


def test_an_agent_is_ready_when_its_kubelet_answers() -> None:
    with local_site() as site:
        assert not ready.agent_is_ready(f"{site.url}/healthz")
        site.page("/healthz", content(b"ok"))
        assert ready.agent_is_ready(f"{site.url}/healthz")
    assert not ready.agent_is_ready(f"{site.url}/healthz")


API, KUBELET, SYSTEMD = "k3s' API server", "k3s' kubelet", "k3s has not said"
NO_API, NO_AGENT = {"disable-apiserver": ["true"]}, {"disable-agent": ["true"]}
OTHER_PORT = {"kubelet-arg": ["max-pods=50", "healthz-port=1", "healthz-port={port}", "v=2"]}
CLOSED = {"kubelet-arg": ["healthz-port=0"]}


@pytest.mark.parametrize(
    ("role", "settings", "port", "asked"),
    [
        ("server", {}, "1", API),
        ("server", {"cluster-init": ["true"]}, "1", API),
        ("server", {"disable-etcd": ["true"], "server": ["https://a:6443"]}, "1", API),
        ("server", NO_AGENT, "1", API),
        ("server", {"disable-apiserver": ["false"]}, "1", API),
        ("server", NO_API, "{port}", KUBELET),
        ("server", NO_API | OTHER_PORT, "1", KUBELET),
        ("server", NO_API | NO_AGENT, "{port}", SYSTEMD),
        ("server", NO_API | CLOSED, "{port}", SYSTEMD),
        ("agent", {}, "{port}", KUBELET),
        ("agent", OTHER_PORT, "1", KUBELET),
        ("agent", CLOSED, "{port}", SYSTEMD),
        ("agent", {}, "0", SYSTEMD),
        ("agent", NO_API | NO_AGENT, "{port}", KUBELET),  # settings that only apply to servers
    ],
)
def test_what_a_node_has_of_k3s_is_what_is_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    settings: dict[str, list[str]],
    port: str,
    asked: str,
) -> None:
    """Of the three, only the one that this node has answers; later none does."""
    answers = {"kubectl": (API, "ok"), "systemctl": (SYSTEMD, "ActiveState=active")}
    for name, (part, answer) in answers.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n[ ! -e {tmp_path}/off ] && printf {answer}\n")
        program.chmod(0o755 if part == asked else 0o600)
    monkeypatch.setenv("PATH", str(tmp_path))
    with local_site() as site:
        if asked == KUBELET:
            site.page("/healthz", content(b"ok"))
        at = {"port": site.url.rpartition(":")[2]}
        told = {key: [each.format(**at) for each in values] for key, values in settings.items()}
        said = ready.missing(role, told, f"{tmp_path}/kubectl", port.format(**at))
        assert said == ""
    (tmp_path / "off").touch()
    assert ready.missing(role, told, f"{tmp_path}/kubectl", port.format(**at)).startswith(asked)


def test_no_proxy_stands_between_the_kubelet_and_who_asks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`k3os upgrade` has the node's proxies in its environment, and urllib(3) does not support
    networks in no_proxy, which k3s' documentation puts there."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.0/8,10.0.0.0/8")
    with local_site() as site:
        site.page("/healthz", content(b"ok"))
        port = {"kubelet-arg": [f"healthz-port={site.url.rpartition(':')[2]}"]}
        assert ready.missing("agent", port, "") == ""


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def kubelet(address: str) -> Iterator[int]:
    """A kubelet's health check on an address of this host. Yields its port."""

    class Server(HTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    with Server((address, 0), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("::1", []),  # if a node's first address is IPv6 (pkg/daemons/agent)
        ("127.0.0.1", []),
        ("127.0.0.2", ["healthz-bind-address=127.0.0.2"]),
        ("::1", ["healthz-bind-address=::1"]),
        ("127.0.0.1", ["healthz-bind-address=127.0.0.9", "healthz-bind-address=0.0.0.0"]),
        ("::1", ["healthz-bind-address=::"]),
    ],
)
def test_the_kubelet_is_asked_where_it_listens(at: str, told: list[str]) -> None:
    with kubelet(at) as port:
        settings = {"kubelet-arg": [*told, f"healthz-port={port}"]}
        assert ready.missing("agent", settings, "") == ""
    assert ready.missing("agent", settings, "") == "k3s' kubelet is not ready"


def test_a_server_that_writes_its_kubeconfig_elsewhere_is_asked_with_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl, place = tmp_path / "kubectl", tmp_path / "mine.yaml"
    kubectl.write_text(f'#!/bin/sh\n[ "$KUBECONFIG" = {place} ] && printf ok\n')
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    settings = {"write-kubeconfig": [str(place)]}
    assert ready.missing("server", settings, f"{tmp_path}/k3s.yaml").startswith(API)
    place.touch()
    assert ready.missing("server", settings, f"{tmp_path}/k3s.yaml") == ""
