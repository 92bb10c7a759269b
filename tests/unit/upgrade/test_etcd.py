"""Snapshots of etcd before an upgrade, by the k3s stub in all versions that differ."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.k3s import settings
from k3os.upgrade import datastore, etcd
from tests.unit.stubs.conftest import STUB, Stub, make

__all__ = ["make"]  # the fixture

# these differ in what the command uses from the configuration, or in which process writes
VERSIONS = ("v1.21.6+k3s1", "v1.22.3+k3s1", "v1.22.5+k3s1", "v1.27.4+k3s1", "v1.30.2+k3s1")
VERSIONS += ("v1.33.1+k3s1", "v1.36.4+k3s1")


class Node:
    """A server with etcd whose `k3s` is the stub."""

    def __init__(self, stub: Stub, said: list[str]) -> None:
        self.stub = stub
        self.said = said

    def start(self, *arguments: str) -> None:
        self.stub.start("server", *arguments)
        self.arguments = ["server", *arguments, f"--https-listen-port={self.stub.port}"]

    @property
    def settings(self) -> settings.Settings:
        return settings.read(self.arguments, {}, root=str(self.stub.root))

    def snapshot(self) -> str:
        return datastore.snapshot(
            self.stub.version, self.settings, self.said.append, root=str(self.stub.root)
        )

    def names(self, directory: str = "var/lib/rancher/k3s/server/db/snapshots") -> list[str]:
        return sorted(path.name for path in (self.stub.root / directory).iterdir())

    def taken(self) -> dict[str, str]:
        """The settings of the command that wrote the last snapshot."""
        lines = (self.stub.root / "run/k3s-stub/snapshot").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def node(request, make: Callable[[str], Stub], tmp_path: Path, monkeypatch) -> Node:
    stub = make(getattr(request, "param", "v1.33.1+k3s1"))
    (tmp_path / "k3s").symlink_to(STUB)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, text in stub.environment({"K3S_URL": "https://192.0.2.1:6443"}).items():
        if name != "PATH":
            monkeypatch.setenv(name, text)
    monkeypatch.setattr(etcd, "FILE", str(tmp_path / "etcd-snapshot.yaml"))
    return Node(stub, [])


each_version = pytest.mark.parametrize("node", VERSIONS, indirect=True)


@each_version
def test_a_server_with_a_token_labels_and_a_server_to_join_gives_a_snapshot(node):
    node.stub.config(
        token="secret", server="https://192.0.2.1:6443", node_label=["a=b"], node_name="n1"
    )
    node.start("--etcd-snapshot-name=mine", "--etcd-snapshot-retention=9")
    assert node.snapshot() == "before-upgrade"
    (name,) = node.names()
    assert name.startswith("before-upgrade-n1-")
    assert node.said == ["etcd wrote the snapshot before-upgrade-…: `k3s etcd-snapshot ls`"]
    assert "token" not in node.taken()
    assert not Path(etcd.FILE).exists()


@each_version
def test_a_token_in_a_file_of_its_own_changes_nothing(node):
    secret = node.stub.write("etc/rancher/k3s/token", "secret\n", 0o600)
    node.stub.config(token_file=str(secret), cluster_init="true")
    node.start()
    assert node.snapshot() == "before-upgrade"
    assert len(node.names()) == 1


@each_version
def test_other_directories_are_those_of_the_server(node):
    node.stub.config(cluster_init="true", etcd_snapshot_dir="/snaps")
    (node.stub.root / "snaps").mkdir()
    node.start("--data-dir=/data")
    for number in range(5):
        assert node.snapshot() == "before-upgrade", number
    assert len(node.names("snaps")) == 3
    assert not (node.stub.root / "data/server/db/snapshots").exists()
    assert "--data-dir=/data" in datastore.how_to_restore(node.settings, root=str(node.stub.root))


@each_version
def test_a_few_snapshots_are_kept_and_those_of_others_are_left_alone(node):
    node.start("--cluster-init", "--node-name=n1")
    place = node.stub.root / "var/lib/rancher/k3s/server/db/snapshots"
    place.mkdir()
    for name in ("etcd-snapshot-n1-1", *(f"before-upgrade-n1-160000000{n}" for n in range(4))):
        (place / name).touch()
    node.arguments.append("--node-name=n1")
    node.snapshot()
    names = node.names()
    assert names[:2] == ["before-upgrade-n1-1600000002", "before-upgrade-n1-1600000003"]
    assert names[3:] == ["etcd-snapshot-n1-1"]


S3 = {"etcd_s3": "true", "etcd_s3_bucket": "b", "etcd_s3_secret_key": "s3cr3t"}


@each_version
def test_a_copy_goes_to_s3_where_the_server_s_go_and_its_key_is_in_no_argument(node, monkeypatch):
    node.stub.config(cluster_init="true", etcd_s3_access_key="key", **S3)
    node.start()
    monkeypatch.setenv("K3S_STUB_S3", "up")
    told: list[list[str]] = []
    real = etcd.run

    def record(argv: list[str], **options: object) -> bytes:
        told.append(argv)
        return real(argv, **options)

    monkeypatch.setattr(etcd, "run", record)
    node.snapshot()
    taken = node.taken()
    assert (taken["s3"], taken["s3-bucket"]) == ("true", "b")
    assert (taken["AWS_ACCESS_KEY_ID"], taken["AWS_SECRET_ACCESS_KEY"]) == ("key", "s3cr3t")
    assert "s3cr3t" not in str(told)
    assert [argv[2] for argv in told] == ["save", "prune", "prune"]


def test_an_s3_out_of_reach_stops_no_upgrade(node):
    node.stub.config(cluster_init="true", **S3)
    node.start()
    assert node.snapshot() == "before-upgrade"
    assert "did not get to S3, it stays on this node: k3s exited with 1" in node.said[0]
    assert len(node.names()) == 2
    assert "--etcd-s3=false" in datastore.how_to_restore(node.settings, root=str(node.stub.root))


def test_what_only_some_versions_have_is_in_a_file_that_only_root_reads(node, monkeypatch):
    node.stub.config(
        cluster_init="true", etcd_s3_proxy="http://u:secret@proxy", etcd_snapshot_compress="true"
    )
    node.start()
    seen = []
    real = etcd.run

    def look(argv: list[str], **options: object) -> bytes:
        seen.append((os.stat(etcd.FILE).st_mode & 0o777, Path(etcd.FILE).read_text(), argv))
        return real(argv, **options)

    monkeypatch.setattr(etcd, "run", look)
    node.snapshot()
    assert seen[0][0] == 0o600
    assert "etcd-snapshot-compress" in seen[0][1]
    assert "secret" not in str(seen[0][2])
    assert node.taken()["snapshot-compress"] == "true"
    assert not Path(etcd.FILE).exists()


def test_without_a_snapshot_nothing_is_switched(node):
    node.start("--cluster-init")
    node.stub.stop()
    with pytest.raises(UserError, match="etcd gave no snapshot") as caught:
        node.snapshot()
    assert "nothing was switched" in str(caught.value)


def test_old_snapshots_that_cannot_be_removed_stop_no_upgrade(node, monkeypatch):
    node.start("--cluster-init")
    real = etcd.run

    def broken(argv: list[str], **options: object) -> bytes:
        return real(["false"] if argv[2] == "prune" else argv, **options)

    monkeypatch.setattr(etcd, "run", broken)
    assert node.snapshot()
    assert "older snapshots of etcd stay: false exited with 1" in node.said[1]


@each_version
def test_the_way_back_works_as_it_is_told(node):
    node.stub.config(token="secret", cluster_init="true")
    node.start()
    node.snapshot()
    (name,) = node.names()
    said = datastore.how_to_restore(node.settings, root=str(node.stub.root))
    stop, reset, start = said.split("`")[3].split("; ")
    assert (stop, start) == ("systemctl stop k3s", "systemctl start k3s")
    node.stub.stop()
    words = reset.split()[1:]
    path = f"/var/lib/rancher/k3s/server/db/snapshots/{name}"
    assert words[-1] == f"--cluster-reset-restore-path={path}"
    words[-1] = f"--cluster-reset-restore-path={node.stub.root}{path}"
    answer = node.stub.run(*words)
    assert (answer.code, "restart without --cluster-reset" in answer.err) == (0, True), answer
