"""The k3s stub stores, chooses and answers the same as the real one.

Seen: at a real v1.22.3 in two nodes, unless a comment says "source" (pkg/agent, pkg/server,
pkg/nodepassword).
"""

import http.server
import json
import marshal
import os
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from k3os.cluster import readiness
from k3os.errors import UserError
from k3os.system.http_mutual import Identity, request
from tests.serving import serving
from tests.unit.stubs.conftest import NEW, OLD, SECONDS, STUB, free_port

JOIN = ("agent", "--server=https://192.0.2.1:6443", "--token=x", "--node-name=n1")
REJECTED = (
    "Waiting to retrieve agent configuration; server is not ready: Node password rejected, "
    "duplicate hostname or contents of '{}' may not match server node-passwd entry, try enabling "
    "a unique node name with the --with-node-id flag"
)


def test_an_agent_that_lost_its_password_is_rejected_for_ever(old):
    old.start(*JOIN)
    password = old.root / "etc/rancher/node/password"
    assert len(password.read_text()) == 33
    assert password.stat().st_mode & 0o777 == 0o600
    old.stop()
    old.start(*JOIN)
    old.stop()
    password.unlink()
    said = old.start(*JOIN, until=REJECTED.format(password), K3S_STUB_RETRY="0.05")
    assert "is up and running" not in said
    assert not (old.root / "run/k3s-stub/pid").exists() or "READY" not in said


def test_another_server_decides_where_one_is_named(new):
    seen = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["K3s-Node-Name"]))
            self.send_response(403 if len(seen) < 3 else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    with serving(server):
        place = f"http://127.0.0.1:{server.server_port}"
        said = new.start(*JOIN, K3S_STUB_SERVER=place, K3S_STUB_RETRY="0.05")
    assert said.count("Node password rejected") == 2
    assert seen == [("/v1-k3s/serving-kubelet.crt", "n1")] * 3


def test_a_server_that_lost_its_password_only_says_so(old):
    old.start("server", "--node-name=n1")
    old.stop()
    (old.root / "etc/rancher/node/password").unlink()
    said = old.start("server", "--node-name=n1")
    assert (
        "error ensuring node password secret for pre-validated node 'n1': unable to verify hash "
        "for node 'n1': hash does not match"
    ) in said


@pytest.mark.parametrize(
    "text",
    [
        *("nameserver ::1\nnameserver 127.0.0.1\n", "nameserver 10.0.0.1\nnameserver 127.0.0.53\n"),
        *("nameserver fe80::1%eth0\n", "nameserver 0.0.0.0\n", "nameserver dns.example\n"),
    ],
)
@pytest.mark.parametrize("version", [OLD, NEW])
def test_one_bad_name_server_means_8_8_8_8(make, version, text):
    stub = make(version)
    stub.write("etc/resolv.conf", text)
    stub.start("server")
    chosen = (stub.root / "run/k3s-stub/resolv-conf").read_text().strip()
    # source: agent/etc/resolv.conf after v1.22
    place = "var/lib/rancher/k3s/agent/etc/resolv.conf" if version == NEW else "tmp/k3s-resolv.conf"
    assert chosen == f"{stub.root}/{place}"
    assert (stub.root / place).read_text() == "nameserver 8.8.8.8\n"


def test_resolv_conf_is_the_flag_s_or_the_first_good_file(new):
    new.write("etc/resolv.conf", "nameserver 127.0.0.53\n")
    good = new.write("run/systemd/resolve/resolv.conf", "nameserver 10.0.0.1\nnameserver fd00::1\n")
    new.start("server")
    chosen = new.root / "run/k3s-stub/resolv-conf"
    assert chosen.read_text() == f"{good}\n"
    new.stop()
    new.start("server", "--resolv-conf=/anything")
    assert chosen.read_text() == "/anything\n"


def test_a_file_without_a_name_server_is_good_for_old_ones_only(make):
    """Source: after v1.22 it must have one."""
    for version, good in ((OLD, True), (NEW, False)):
        stub = make(version)
        path = stub.write("etc/resolv.conf", "search example.org\n")
        stub.start("server")
        chosen = (stub.root / "run/k3s-stub/resolv-conf").read_text().strip()
        assert (chosen == str(path)) is good


def test_the_mode_of_the_kubeconfig_is_the_flag_s_or_the_variable_s(new):
    """pkg/cli/cmds/server.go, K3S_KUBECONFIG_MODE; a flag takes precedence."""
    for words, mode in (((), 0o640), (("--write-kubeconfig-mode=0644",), 0o644)):
        new.start("server", *words, K3S_KUBECONFIG_MODE="0640")
        assert (new.root / "etc/rancher/k3s/k3s.yaml").stat().st_mode & 0o777 == mode
        new.stop()


def test_what_it_writes_lies_where_the_real_one_has_it(new):
    new.start("server", "--write-kubeconfig-mode=0640")
    data = new.root / "var/lib/rancher/k3s"
    for name, mode in (
        *(("server", 0o700), ("server/db", 0o700), ("server/token", 0o600), ("agent", 0o700)),
        *(("server/db/state.db", 0o644), ("agent/etc/crictl.yaml", 0o644)),
        *(("agent/etc/containerd/config.toml", 0o600), ("agent/client-kubelet.key", 0o600)),
    ):
        assert (data / name).stat().st_mode & 0o777 == mode, name
    assert (data / "server/node-token").readlink() == data / "server/token"
    assert (data / "data/current").readlink().parent == data / "data"
    assert (data / "data/current/bin/containerd").exists()
    assert (new.root / "etc/rancher/k3s/k3s.yaml").stat().st_mode & 0o777 == 0o640
    for name in ("var/lib/kubelet/plugins", "usr/libexec/kubernetes/kubelet-plugins/volume/exec"):
        assert (new.root / name).is_dir()


def test_data_dir_moves_the_data_and_nothing_else(new):
    new.start("server", "--data-dir=/data")
    assert (new.root / "data/server/db/state.db").exists()
    assert not (new.root / "var/lib/rancher/k3s/server").exists()
    assert (new.root / "etc/rancher/node/password").exists()
    assert (new.root / "var/lib/kubelet").exists()


def test_a_read_only_place_for_plugins_is_an_error_that_k3s_survives(new):
    new.write("usr/libexec", "no directory")
    said = new.start("server")
    assert "Error initializing dynamic plugin prober: mkdir /usr/libexec" in said
    new.stop()
    flag = "--kubelet-arg=volume-plugin-dir=/var/lib/plugins"
    assert "plugin prober" not in new.start("server", flag)


def answer(url: str, context: ssl.SSLContext | None = None) -> str:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS, context=context) as found:
            return str(found.status)
    except urllib.error.HTTPError as error:
        error.close()
        return str(error.code)
    except urllib.error.URLError as error:
        return type(error.reason).__name__
    except OSError as error:
        return type(error).__name__


def test_the_api_comes_up_in_the_order_of_the_real_one(new):
    """Port closed, connection ends without an answer, 500 apiserver not ready, 503, ok."""
    new.start("server", until="is running", K3S_STUB_READY_AFTER="1000")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"https://127.0.0.1:{new.port}/readyz"
    for phase, wanted in (
        *(("0.1", "ConnectionRefusedError"), ("0.3", "RemoteDisconnected")),
        *(("0.6", "500"), ("0.8", "503"), ("1", "200")),
    ):
        (new.root / "run/k3s-stub/phase").write_text(phase)
        end = time.monotonic() + SECONDS
        while (now := answer(url, context)) != wanted:
            assert time.monotonic() < end, (now, wanted)
    assert "is up and running" in (new.root / "log-0").read_text()


def test_the_kubelet_s_identity_may_change_its_own_node_only(new):
    new.start("server", "--node-name=n1")
    agent = new.root / "var/lib/rancher/k3s/agent"
    names = ("server-ca.crt", "client-kubelet.crt", "client-kubelet.key")
    identity = Identity(*(str(agent / name) for name in names))
    url = f"https://127.0.0.1:{new.port}/api/v1/nodes"
    assert request("PATCH", f"{url}/n1/status", identity, b'{"a": 1}')[0] == 200
    assert request("PATCH", f"{url}/n2", identity, b"{}")[0] == 403
    sent = (new.root / "run/k3s-stub/patches").read_text()
    assert sent == '/api/v1/nodes/n1/status {"a": 1}\n'
    new.stop()
    with pytest.raises(UserError, match="does not answer"):
        request("PATCH", f"{url}/n1", identity, b"{}")


@pytest.mark.parametrize(("after", "status"), [("0", "True"), ("1000", "False")])
def test_whoever_asks_for_its_node_or_changes_it_gets_it_with_its_condition(new, after, status):
    """`k3os report` waits for a node that is not Ready, and polls it."""
    new.start("server", "--node-name=n1", K3S_STUB_NODE_AFTER=after)
    agent = new.root / "var/lib/rancher/k3s/agent"
    names = ("server-ca.crt", "client-kubelet.crt", "client-kubelet.key")
    identity = Identity(*(str(agent / name) for name in names))
    url = f"https://127.0.0.1:{new.port}/api/v1/nodes/n1"
    for method, target in (("GET", url), ("PATCH", url), ("PATCH", f"{url}/status")):
        code, text = request(method, target, identity, b"{}" if method == "PATCH" else b"")
        node = json.loads(text)
        assert (code, node["metadata"]["name"]) == (200, "n1")
        assert readiness.of(node)["status"] == status


def test_kubectl_says_what_the_real_one_says(new):
    refused = "The connection to the server {} was refused - did you specify the right host"
    assert refused.format("localhost:8080") in new.run("kubectl", "get", "nodes").err
    new.start("server", "--node-name=n1", until="is running", K3S_STUB_READY_AFTER="1000")
    assert refused.format("127.0.0.1:6443") in new.run("kubectl", "get", "nodes").err
    denied = new.run("kubectl", "get", "nodes", anyone=True).err
    assert "please start server with --write-kubeconfig-mode" in denied
    assert "permission denied" in denied


def test_a_server_for_etcd_alone_has_a_kubelet_and_no_api(new):
    kubelet = free_port()
    parts = ("--disable-apiserver", "--disable-controller-manager", "--disable-scheduler")
    new.start("server", *parts, f"--kubelet-arg=healthz-port={kubelet}")
    assert "apiserver not ready" in new.run("kubectl", "get", "--raw=/readyz").err
    assert answer(f"http://127.0.0.1:{kubelet}/healthz") == "200"


def test_a_server_without_an_agent_has_an_api_and_no_kubelet(new):
    kubelet = free_port()
    new.start("server", "--disable-agent", f"--kubelet-arg=healthz-port={kubelet}")
    assert new.run("kubectl", "get", "--raw=/readyz").out == "ok"
    assert answer(f"http://127.0.0.1:{kubelet}/healthz") == "ConnectionRefusedError"


def test_a_node_is_ready_after_its_api(new):
    new.start("server", "--node-name=n1", K3S_STUB_NODE_AFTER="60")
    assert new.run("kubectl", "get", "--raw=/readyz").out == "ok"
    line = new.run("kubectl", "get", "nodes").out.splitlines()[1].split()
    assert line == ["n1", "NotReady", "control-plane,master", "1s", NEW]


def test_it_tells_systemd_when_it_is_ready(new, tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(tmp_path / "notify"))
        service.settimeout(SECONDS)
        new.start(
            "server",
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            until="is running",
            K3S_STUB_READY_AFTER="0.5",
        )
        assert service.recv(64) == b"READY=1"
    assert time.time() >= float((new.root / "run/k3s-stub/ready-at").read_text())


def test_check_config_and_the_container_tools(new):
    assert "STATUS:" in new.run("check-config").out
    assert new.run("crictl", "ps").code == 1
    new.start("server")
    assert "CONTAINER" in new.run("crictl", "ps").out
    assert "permission denied" in new.run("crictl", "ps", anyone=True).err


def test_python_compiles_it_once_for_a_server_and_whoever_asks_it(new, tmp_path):
    """But the compiled code is not used for another file, nor for one that has changed."""
    copies = [shutil.copy(STUB, tmp_path / name) for name in ("k3s", "other")]
    server = [str(copies[0]), *new.command(("server", f"--https-listen-port={new.port}"))[2:]]
    environment = new.environment({})

    def version(path: Path) -> str:
        return subprocess.run(
            [path, "--version"], env=environment, capture_output=True, text=True
        ).stdout.split()[2]

    kept = new.root / "run/k3s-stub/code.pyc"
    with subprocess.Popen(
        [*server, f"--kubelet-arg=healthz-port={free_port()}"], env=environment
    ) as process:
        try:
            end = time.monotonic() + SECONDS
            while not (new.root / "run/k3s-stub/pid").exists():
                assert time.monotonic() < end
                time.sleep(0.05)
            assert Path(f"/proc/{process.pid}/comm").read_text() == "k3s\n"
        finally:
            process.kill()
    assert [version(path) for path in copies] == [NEW, NEW]
    kept.write_bytes(kept.read_bytes()[:16] + marshal.dumps(compile("print('a b c')", "", "exec")))
    assert [version(path) for path in copies] == ["c", NEW]
    os.utime(copies[0], (time.time() + 60,) * 2)
    assert version(copies[0]) == NEW
