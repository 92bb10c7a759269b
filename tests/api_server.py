"""A stub of a cluster's API server for a node's reports: it requires the kubelet's certificate,
records each PATCH, and refuses changes of other nodes. While it comes up, it answers like k3s'."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from k3os.system.run import run
from tests.serving import serving

# answers while an API server comes up, on slow machines for minutes; status 0: it hangs up
COMING_UP = (
    (0, ""),
    (503, "apiserver not ready"),
    (500, "an internal error"),
    (401, "Unauthorized"),
    (403, 'nodes "me" is forbidden: not yet ready to handle request'),
    (403, 'nodes "me" is forbidden: User "system:node:me" cannot patch resource "nodes"'),
    (404, 'nodes "me" not found'),
    (429, "too many requests"),
    (0, ""),
)
FILES = ("kubelet.kubeconfig", "server-ca.crt", "kubelet.crt", "kubelet.key")


class ApiServer:
    """seen: (path, content type, body, subject of the client's certificate) of each PATCH.
    pods: the pods it lists for its node. is_ready: the next answers about the node.

    directory: where FILES are, as k3s makes them below /var/lib/rancher/k3s/agent.
    troubles: what the next PATCHes get instead of an answer, in this order. asked: number of
    PATCHes. connections: number of connections. answers: PATCHes wait until it is set.
    """

    def __init__(self, directory: Path, node: str) -> None:
        self.directory = directory
        self.node = node
        self.seen: list[tuple[str, str, dict, dict[str, str]]] = []
        self.pods: list[dict] = []
        self.is_ready: list[bool] = []
        self.troubles: list[tuple[int, str]] = []
        self.asked = self.connections = 0
        self.answers = threading.Event()
        self.answers.set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive

    def setup(self) -> None:
        super().setup()
        self.server.api.connections += 1  # type: ignore[attr-defined]

    def do_PATCH(self) -> None:
        api: ApiServer = self.server.api  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        subject = self.connection.getpeercert()["subject"]  # type: ignore[attr-defined]
        names = {name: value for ((name, value),) in subject}
        api.asked += 1
        api.answers.wait(60)
        if api.troubles:
            self._refuse(*api.troubles.pop(0))
            return
        api.seen.append((self.path, self.headers["Content-Type"], body, names))
        name = self.path.split("/")[4]
        is_own = name == api.node
        if is_own:
            self._answer(200, {})
        else:
            self._answer(403, {"message": f'nodes "{name}" is forbidden'})

    def do_GET(self) -> None:
        api: ApiServer = self.server.api  # type: ignore[attr-defined]
        # like Kubernetes' node authorizer since 1.32: a node may only list its own pods
        path, _, selected = self.path.partition("?fieldSelector=")
        own = f"spec.nodeName%3D{api.node}"
        if path == "/api/v1/pods" and selected.partition(",")[0] == own:
            self._answer(200, {"items": api.pods})
        elif path == f"/api/v1/nodes/{api.node}":
            ready = {"type": "Ready", "status": "True" if api.is_ready.pop(0) else "False"}
            self._answer(200, {"status": {"conditions": [ready]}})
        else:
            self._answer(403, {"message": "pods is forbidden"})

    def _refuse(self, code: int, words: str) -> None:
        if code:
            self._answer(code, {"message": words})
        else:
            self.close_connection = True

    def _answer(self, code: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet: tests look at `seen`."""


# old authorities and their certificates lack the key identifiers that RFC 5280 requires
OLD = """[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
subjectKeyIdentifier = none
authorityKeyIdentifier = none
[leaf]
subjectAltName = {addresses}
subjectKeyIdentifier = none
authorityKeyIdentifier = none
"""


def certificate(directory: Path, name: str, subject: str, addresses: str) -> None:
    """Make NAME.crt and NAME.key, signed by their own authority, NAME-ca.crt."""
    paths = {end: str(directory / f"{name}{end}") for end in (".key", ".csr", ".crt")}
    authority = {end: str(directory / f"{name}-ca{end}") for end in (".key", ".crt")}
    settings = directory / f"{name}.cnf"
    settings.write_text(OLD.format(addresses=addresses))
    request = ["openssl", "req", "-config", str(settings), "-nodes", "-newkey", "ec"]
    request += ["-pkeyopt", "ec_paramgen_curve:P-256"]
    own = ["-x509", "-days", "3650", "-subj", f"/CN={name}-ca", "-extensions", "authority"]
    run([*request, *own, "-keyout", authority[".key"], "-out", authority[".crt"]])
    run([*request, "-subj", subject, "-keyout", paths[".key"], "-out", paths[".csr"]])
    run(
        ["openssl", "x509", "-req", "-days", "3650", "-in", paths[".csr"], "-out", paths[".crt"]]
        + ["-CA", authority[".crt"], "-CAkey", authority[".key"], "-set_serial", "1"]
        + ["-extfile", str(settings), "-extensions", "leaf"]
    )


@contextmanager
def api_server(
    directory: Path, node: str, *, host: str = "127.0.0.1", place: str = ""
) -> Iterator[ApiServer]:
    """Serve until the block is left. host: our address as the client sees it; place: where FILES
    will be on the client, by default directory."""
    found = ApiServer(directory, node)
    certificate(directory, "server", "/CN=k3s", f"IP:{host}")
    certificate(directory, "kubelet", f"/O=system:nodes/CN=system:node:{node}", "DNS:kubelet")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    context.load_verify_locations(directory / "kubelet-ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.api = found  # type: ignore[attr-defined]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    place = place or str(directory)
    (directory / "kubelet.kubeconfig").write_text(
        f"apiVersion: v1\nclusters:\n- cluster:\n    server: https://{host}:{server.server_port}\n"
        f"    certificate-authority: {place}/server-ca.crt\n  name: local\n"
        f"users:\n- name: user\n  user:\n    client-certificate: {place}/kubelet.crt\n"
        f"    client-key: {place}/kubelet.key\n"
    )
    with serving(server):
        yield found
