"""A stub of a cluster's API server for what a node says of itself: it insists on the kubelet's
certificate, records each PATCH, and refuses other nodes than its own."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from k3os.system.run import run
from tests.serving import serving

FILES = ("kubelet.kubeconfig", "server-ca.crt", "kubelet.crt", "kubelet.key")


class ApiServer:
    """seen: (path, content type, body, subject of the client's certificate) of each PATCH.
    pods: what it lists of its node.

    directory: where FILES are, as k3s makes them below /var/lib/rancher/k3s/agent.
    """

    def __init__(self, directory: Path, node: str) -> None:
        self.directory = directory
        self.node = node
        self.seen: list[tuple[str, str, dict, dict[str, str]]] = []
        self.pods: list[dict] = []


class Handler(BaseHTTPRequestHandler):
    def do_PATCH(self) -> None:
        api: ApiServer = self.server.api  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        subject = self.connection.getpeercert()["subject"]  # type: ignore[attr-defined]
        names = {name: value for ((name, value),) in subject}
        api.seen.append((self.path, self.headers["Content-Type"], body, names))
        name = self.path.split("/")[4]
        is_own = name == api.node
        self._answer({} if is_own else {"message": f'nodes "{name}" is forbidden'}, is_own)

    def do_GET(self) -> None:
        api: ApiServer = self.server.api  # type: ignore[attr-defined]
        # as the node authorizer of Kubernetes 1.32: a node lists its own pods, not all
        path, _, selected = self.path.partition("?fieldSelector=")
        own = f"spec.nodeName%3D{api.node}"
        is_own = path == "/api/v1/pods" and selected.partition(",")[0] == own
        self._answer({"items": api.pods} if is_own else {"message": "pods is forbidden"}, is_own)

    def _answer(self, answer: dict, is_own: bool) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200 if is_own else 403)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet: tests look at `seen`."""


# authorities of old lack the identifiers that RFC 5280 asks for, and so do their certificates
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


def _certificate(directory: Path, name: str, subject: str, addresses: str) -> None:
    """NAME.crt and NAME.key, of an authority of its own, NAME-ca.crt."""
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
    """Serve until the block is left. host: our name for the client; place: where FILES will lie
    there, here by default."""
    found = ApiServer(directory, node)
    _certificate(directory, "server", "/CN=k3s", f"IP:{host}")
    _certificate(directory, "kubelet", f"/O=system:nodes/CN=system:node:{node}", "DNS:kubelet")
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
