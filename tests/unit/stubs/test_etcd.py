"""The stub's `k3s etcd-snapshot` and `k3s server --cluster-reset`.

Seen: at a real v1.22.3 unless a comment says "source" or names an issue of k3s.
"""

import time

import pytest

from tests.unit.stubs.conftest import NEW, OLD

SNAPSHOTS = "var/lib/rancher/k3s/server/db/snapshots"


def names(stub, directory: str = SNAPSHOTS) -> list[str]:
    return sorted(path.name for path in (stub.root / directory).iterdir())


def test_a_key_of_the_server_ends_the_old_command(old):
    old.config(token="x", cluster_init="true")
    old.start("server")
    answer = old.run("etcd-snapshot", "save")
    assert answer.code == 1
    assert answer.out.startswith("Incorrect Usage. flag provided but not defined: -token\n")
    assert 'level=fatal msg="flag provided but not defined: -token"' in answer.err
    assert old.run("etcd-snapshot", "save", K3S_CONFIG_FILE="/dev/null").code == 0
    (name,) = names(old)
    assert name.startswith("on-demand-")


def test_newer_ones_skip_such_keys(new):
    """k3s#4449."""
    new.config(token="x", cluster_init="true", write_kubeconfig_mode="0640")
    new.start("server", "--node-name=n1")
    here = f"--etcd-server=https://127.0.0.1:{new.port}"
    answer = new.run("etcd-snapshot", "save", "--name", "mine", here)
    assert answer.code == 0, answer.err
    assert "Unknown flag --cluster-init found in config.yaml, skipping" in answer.err
    assert names(new)[0].startswith("mine-n1-")


@pytest.mark.parametrize("version", [OLD, NEW])
def test_where_there_is_no_etcd_it_says_so(make, version):
    stub = make(version)
    stub.start("server")
    here = [f"--etcd-server=https://127.0.0.1:{stub.port}"] if version == NEW else []
    said = stub.run("etcd-snapshot", "save", *here).err
    old = f"etcd database not found in {stub.root}/var/lib/rancher/k3s/server"
    assert (old if version == OLD else "etcd datastore disabled") in said  # the latter: k3s#11389


def test_a_sub_command_of_old_forgets_what_its_parent_was_told(old):
    """Source: parsing a subcommand sets its flags to their defaults; `prune` has no directory
    flag."""
    old.config(etcd_snapshot_dir="/elsewhere", cluster_init="true")
    (old.root / "elsewhere").mkdir()
    old.start("server", "--node-name=n1")
    only = old.write("only.yaml", "etcd-snapshot-dir: /elsewhere\n")
    environment = {"K3S_CONFIG_FILE": str(only)}
    assert old.run("etcd-snapshot", "save", **environment).code == 0
    assert (len(names(old)), names(old, "elsewhere")) == (1, [])
    assert old.run("etcd-snapshot", "save", "--dir=/elsewhere", **environment).code == 0
    assert old.run("etcd-snapshot", "save", "--dir=/elsewhere", **environment).code == 0
    assert len(names(old, "elsewhere")) == 2
    assert "-dir" in old.run("etcd-snapshot", "prune", "--dir=/elsewhere", **environment).err
    assert old.run("etcd-snapshot", "prune", "--snapshot-retention=1", **environment).code == 0
    assert len(names(old, "elsewhere")) == 1


def test_only_the_newer_ones_ask_the_running_server(make):
    """k3s#9816: at the address of `etcd-server`, with the token of server/token."""
    new = make(NEW)
    new.start("server", "--cluster-init")
    assert "not of this node" in new.run("etcd-snapshot", "save").err
    here = f"--etcd-server=https://127.0.0.1:{new.port}"
    assert new.run("etcd-snapshot", "save", here).code == 0
    (new.root / "var/lib/rancher/k3s/server/token").unlink()
    assert "server/token: no such file" in new.run("etcd-snapshot", "save", here).err


def test_some_versions_asked_the_server_that_the_node_had_joined(make):
    """k3s#10513: until v1.30.2."""
    stub = make("v1.30.2+k3s1")
    stub.config(server="https://192.0.2.1:6443", token="x")
    stub.start("server")
    assert "would be of https://192.0.2.1:6443" in stub.run("etcd-snapshot", "save").err


def test_without_a_running_server_there_is_no_snapshot(old):
    old.start("server", "--cluster-init")
    old.stop()
    assert old.run("etcd-snapshot", "save").code == 1


def test_a_reset_restores_a_snapshot_and_ends(old):
    old.start("server", "--cluster-init")
    old.run("etcd-snapshot", "save")
    old.stop()
    path = old.root / SNAPSHOTS / names(old)[0]
    lone = old.run("server", f"--cluster-reset-restore-path={path}")
    assert "--cluster-reset required with --cluster-reset-restore-path" in lone.err
    missing = old.run("server", "--cluster-reset", "--cluster-reset-restore-path=/nowhere")
    assert "etcd: snapshot path does not exist: /nowhere" in missing.err
    started = time.monotonic()
    reset = old.run("server", "--cluster-reset", f"--cluster-reset-restore-path={path}")
    assert (reset.code, time.monotonic() - started < 20) == (0, True)
    assert "restart without --cluster-reset flag now" in reset.err
    assert (path.parents[1] / "etcd/restored-from").read_text() == f"{path}\n"


def test_a_node_that_joined_another_server_cannot_reset(old):
    answer = old.run("server", "--cluster-reset", "--server=https://192.0.2.1:6443", "--token=x")
    assert answer.code == 1
