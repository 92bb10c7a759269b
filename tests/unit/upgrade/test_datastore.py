"""Copies of the datastore: real sqlite databases, one of them being written to; etcd by a stub."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.upgrade import datastore

# Stands for `k3s etcd-snapshot`: it takes the flags that each of its commands has, and no other.
ETCD_STUB = """#!/bin/sh
cd "$SNAPSHOTS" || exit 1
[ "$1 $2 $3" = "etcd-snapshot $2 --name" ] || exit 2
case $2:$5 in
    save:) date > "$4-node-$(ls | wc -l)" ;;
    prune:--snapshot-retention) ls -t | grep "^$4-node-" | tail -n "+$(($6 + 1))" | xargs -r rm ;;
    *) echo "flag provided but not defined: $5"; exit 1 ;;
esac
"""


def quiet(text: str) -> None:
    """Nobody looks."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / datastore.DATABASES.strip("/") / "state.db"
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode=wal")
    connection.execute("create table kine (name text)")
    connection.execute("insert into kine values ('before')")
    connection.commit()
    connection.close()
    return path


def rows(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = [row[0] for row in connection.execute("select name from kine")]
    connection.close()
    return found


def test_a_copy_holds_what_was_committed_while_it_is_written_to(database, tmp_path):
    writer = sqlite3.connect(database)
    writer.execute("insert into kine values ('committed, still in the log')")
    writer.commit()
    writer.execute("insert into kine values ('not yet')")
    path = datastore.snapshot("v1.33.1+k3s1", quiet, root=str(tmp_path))
    writer.rollback()
    writer.close()
    assert rows(Path(path)) == ["before", "committed, still in the log"]
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_going_back_puts_the_copy_in_place_and_keeps_the_other(database, tmp_path):
    path = datastore.snapshot("v1.33.1+k3s1", quiet, root=str(tmp_path))
    connection = sqlite3.connect(database)
    connection.execute("insert into kine values ('after')")
    connection.commit()
    connection.close()
    assert datastore.copy_for("v1.34.0+k3s1", "v1.33.1+k3s1", root=str(tmp_path)) == path
    datastore.restore(path, root=str(tmp_path))
    assert rows(database) == ["before"]
    assert rows(database.with_name("state.db.replaced")) == ["before", "after"]


def test_a_copy_that_another_k3s_left_is_never_put_back(database, tmp_path):
    datastore.snapshot("v1.32.0+k3s1", quiet, root=str(tmp_path))
    with pytest.raises(UserError, match=r"no copy of the datastore that k3s v1\.33\.1\+k3s1 left"):
        datastore.copy_for("v1.34.0+k3s1", "v1.33.1+k3s1", root=str(tmp_path))
    with pytest.raises(UserError, match=r"same k3s, v1\.32\.0\+k3s1"):
        datastore.copy_for("v1.32.0+k3s1", "v1.32.0+k3s1", root=str(tmp_path))


def test_the_way_back_by_hand_works_as_it_is_told(database, tmp_path):
    datastore.snapshot("v1.33.1+k3s1", quiet, root=str(tmp_path))
    killed = (
        "import os, sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute(\"insert into kine values ('after')\")\n"
        "connection.commit()\nos._exit(0)"
    )
    subprocess.run([sys.executable, "-c", killed, str(database)], check=True)
    assert database.with_name("state.db-wal").stat().st_size > 0
    said = datastore.how_to_restore(root=str(tmp_path))
    commands = said.partition("`")[2].rstrip("`").split("; ")
    assert (commands[0], commands[-1]) == ("systemctl stop k3s", "systemctl start k3s")
    subprocess.run(["sh", "-ec", "; ".join(commands[1:-1])], check=True)
    assert rows(database) == ["before"]


def test_a_few_copies_are_kept(database, tmp_path, monkeypatch):
    for hour in range(6):
        monkeypatch.setattr(datastore.time, "strftime", lambda *_, hour=hour: f"2026T0{hour}")
        datastore.snapshot("v1.33.1+k3s1", quiet, root=str(tmp_path))
    directory = tmp_path / datastore.SNAPSHOTS.strip("/")
    assert sorted(path.name[:7] for path in directory.iterdir()) == [
        "2026T03",
        "2026T04",
        "2026T05",
    ]


def test_an_agent_has_no_datastore(tmp_path):
    assert datastore.snapshot("v1.33.1+k3s1", quiet, root=str(tmp_path)) == ""
    assert datastore.how_to_restore(root=str(tmp_path)) == ""


def test_a_datastore_that_cannot_be_copied_stops_the_upgrade(database, tmp_path):
    database.write_text("this is no database, and it is long enough to be looked at" * 20)
    with pytest.raises(UserError, match="cannot be copied"):
        datastore.snapshot("v1.33.1+k3s1", quiet, root=str(tmp_path))
    assert list((tmp_path / datastore.SNAPSHOTS.strip("/")).iterdir()) == []


@pytest.fixture
def etcd(tmp_path: Path, monkeypatch) -> Path:
    """A server with etcd; the directory of its snapshots."""
    (tmp_path / datastore.DATABASES.strip("/") / "etcd").mkdir(parents=True)
    snapshots, programs = tmp_path / "snapshots", tmp_path / "bin"
    snapshots.mkdir()
    programs.mkdir()
    (programs / "k3s").write_text(ETCD_STUB)
    (programs / "k3s").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SNAPSHOTS", str(snapshots))
    return snapshots


def test_etcd_writes_a_snapshot_of_its_own(etcd, tmp_path):
    said: list[str] = []
    assert datastore.snapshot("v1.33.1+k3s1", said.append, root=str(tmp_path)) == "before-upgrade"
    assert [path.name for path in etcd.iterdir()] == ["before-upgrade-node-0"]
    assert said == ["etcd wrote the snapshot before-upgrade-…: `k3s etcd-snapshot ls`"]
    assert "k3s etcd-snapshot ls" in datastore.how_to_restore(root=str(tmp_path))


def test_a_few_snapshots_of_etcd_are_kept_and_those_of_others_are_left_alone(etcd, tmp_path):
    (etcd / "etcd-snapshot-node-1").touch()
    for age, name in enumerate(("e", "d", "c", "b", "a")):
        path = etcd / f"before-upgrade-node-{name}"
        path.touch()
        os.utime(path, (age, age))
    datastore.snapshot("v1.33.1+k3s1", quiet, root=str(tmp_path))
    assert sorted(path.name for path in etcd.iterdir()) == [
        "before-upgrade-node-6",
        "before-upgrade-node-a",
        "before-upgrade-node-b",
        "etcd-snapshot-node-1",
    ]


def test_old_snapshots_of_etcd_that_cannot_be_removed_do_not_stop_an_upgrade(etcd, tmp_path):
    program = tmp_path / "bin" / "k3s"
    program.write_text(ETCD_STUB.replace("prune:--snapshot-retention)", "none)"))
    said: list[str] = []
    assert datastore.snapshot("v1.33.1+k3s1", said.append, root=str(tmp_path))
    assert "older snapshots of etcd stay: k3s exited with 1" in said[1]


def test_without_a_snapshot_of_etcd_nothing_is_switched(etcd, tmp_path, monkeypatch):
    monkeypatch.setenv("SNAPSHOTS", str(tmp_path / "missing"))
    with pytest.raises(UserError, match="etcd gave no snapshot") as caught:
        datastore.snapshot("v1.33.1+k3s1", quiet, root=str(tmp_path))
    assert "nothing was switched" in str(caught.value)
