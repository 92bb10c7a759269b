"""What a node says of itself, and how: to a server that insists on the kubelet's certificate."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from k3os.cli.report import node_name
from k3os.cluster import kubelet, names, report
from k3os.cluster.impact import canonical, fragment_hash
from k3os.config.check import check_text
from k3os.config.load import Config
from k3os.errors import UserError
from k3os.system.run import run

STATUS = {
    "mode": "disk",
    "versions": {"running": {"k3os": "1.0.0", "kernel": "6.12", "k3s": "v1.33.1+k3s1"}},
    "on_trial": False,
    "rollback": {},
}
FRAGMENT = {"k3os": {"labels": {"tier": "gold"}}}


def test_versions_labels_and_the_fragment_in_force_are_told(tmp_path: Path) -> None:
    path = tmp_path / report.FRAGMENT.lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_bytes(canonical(FRAGMENT))
    said = report.metadata(STATUS, {"tier": "gold"}, str(tmp_path))["metadata"]
    assert said["labels"] == {
        "tier": "gold",
        names.MODE_LABEL: "disk",
        names.VERSION_LABEL: "1.0.0",
    }
    assert said["annotations"][names.K3S] == "v1.33.1+k3s1"
    assert said["annotations"][names.CONFIG_HASH] == fragment_hash(FRAGMENT)
    assert names.LAST_RESULT not in said["annotations"]


@pytest.mark.parametrize(
    ("changes", "failures", "reason", "words"),
    [
        ({}, [], "AsConfigured", "everything"),
        ({}, ["runtime: a.yaml:3:1: hostname: bad"] * 5, "NotApplied", "a.yaml:3:1: hostname"),
        ({"verified": {"damaged": {"x": "y"}}}, ["verify: x: y"], "Damaged", "verify: x"),
        (
            {"rollback": {"failed": {"k3os": "2.0"}, "reason": "it hung"}},
            [],
            "RolledBack",
            "k3os 2.0 did not come up: it hung",
        ),
        ({"clock_in_doubt": "1970"}, [], "ClockInDoubt", "time server"),
    ],
)
def test_the_condition_says_what_is_wrong(changes, failures, reason, words) -> None:
    said = report.condition({**STATUS, **changes}, failures, "now", {})
    assert said["reason"] == reason
    assert words in said["message"]
    assert said["status"] == ("True" if reason == "AsConfigured" else "False")


def test_the_condition_keeps_the_time_of_its_last_change() -> None:
    one = report.condition(STATUS, [], "1", {})
    two = report.condition(STATUS, [], "2", one)
    assert (two["lastTransitionTime"], two["lastHeartbeatTime"]) == ("1", "2")
    assert report.condition(STATUS, ["x"], "3", two)["lastTransitionTime"] == "3"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("k3os: {k3s_args: [server, --node-name, chosen]}", "chosen"),
        ("k3os: {k3s_args: [server, --node-name=chosen]}", "chosen"),
        ("hostname: other", "pinned"),
    ],
)
def test_the_node_is_the_one_that_k3s_registered(tmp_path: Path, text: str, wanted: str) -> None:
    (tmp_path / "name").write_text("pinned\n")
    config = Config(check_text(text.encode(), "config.yaml")[0])
    assert node_name(config, str(tmp_path / "name")) == wanted


class Handler(BaseHTTPRequestHandler):
    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        who = self.connection.getpeercert()["subject"]  # type: ignore[attr-defined]
        self.server.seen.append((self.path, self.headers["Content-Type"], json.loads(body), who))  # type: ignore[attr-defined]
        ok = "/nodes/me" in self.path
        answer = b"{}" if ok else b'{"message": "nodes \\"you\\" is forbidden"}'
        self.send_response(200 if ok else 403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Quiet: tests look at `seen`."""


def certificate(directory: Path, name: str, subject: str) -> None:
    """Its own authority, which is what the other side trusts."""
    run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-days", "3650", "-subj", subject, "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.crt")]
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[ThreadingHTTPServer, Path]]:
    """A stub of the API server, and the kubeconfig that k3s would have made for it."""
    directory = tmp_path_factory.mktemp("api")
    certificate(directory, "server", "/CN=k3s")
    certificate(directory, "kubelet", "/O=system:nodes/CN=system:node:me")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    context.load_verify_locations(directory / "kubelet.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.daemon_threads = True
    found.seen = []  # type: ignore[attr-defined]
    found.socket = context.wrap_socket(found.socket, server_side=True)
    threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True).start()
    (directory / "kubelet.kubeconfig").write_text(
        f"apiVersion: v1\nclusters:\n- cluster:\n    server: https://127.0.0.1:{found.server_port}\n"
        f"    certificate-authority: {directory}/server.crt\n  name: local\n"
        f"users:\n- name: user\n  user:\n    client-certificate: {directory}/kubelet.crt\n"
        f"    client-key: {directory}/kubelet.key\n"
    )
    yield found, directory / "kubelet.kubeconfig"
    found.shutdown()
    found.server_close()


def test_it_speaks_as_the_kubelet_and_merges(server) -> None:
    found, path = server
    api = kubelet.api(str(path))
    assert api is not None
    api.patch_node("me", {"metadata": {}})
    api.patch_node("me", {"status": {"conditions": []}}, status=True)
    assert [each[:2] for each in found.seen] == [
        ("/api/v1/nodes/me", kubelet.MERGE),
        ("/api/v1/nodes/me/status", kubelet.STRATEGIC),
    ]
    assert (("commonName", "system:node:me"),) in found.seen[0][3]


def test_a_refusal_and_a_server_that_is_down_are_told(server, tmp_path: Path) -> None:
    _, path = server
    api = kubelet.api(str(path))
    assert api is not None
    with pytest.raises(UserError, match='nodes "you" is forbidden'):
        api.patch_node("you", {})
    with pytest.raises(UserError, match="does not answer"):
        kubelet.Api("https://127.0.0.1:9", api.identity).patch_node("me", {})
    assert kubelet.api(str(tmp_path / "none")) is None
    (tmp_path / "bad").write_text("clusters: []")
    with pytest.raises(UserError, match="is no kubeconfig"):
        kubelet.api(str(tmp_path / "bad"))
