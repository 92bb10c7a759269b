"""Copies of the datastore: real sqlite databases, one of them being written to."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.k3s import settings
from k3os.upgrade import datastore

DATABASES = datastore.databases({}).strip("/")


def quiet(text: str) -> None:
    """Ignores progress."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / DATABASES / "state.db"
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
    path = datastore.snapshot("v1.33.1+k3s1", {}, quiet, root=str(tmp_path))
    writer.rollback()
    writer.close()
    assert rows(Path(path)) == ["before", "committed, still in the log"]
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_going_back_puts_the_copy_in_place_and_keeps_the_other(database, tmp_path):
    path = datastore.snapshot("v1.33.1+k3s1", {}, quiet, root=str(tmp_path))
    connection = sqlite3.connect(database)
    connection.execute("insert into kine values ('after')")
    connection.commit()
    connection.close()
    assert datastore.copy_for("v1.34.0+k3s1", "v1.33.1+k3s1", {}, root=str(tmp_path)) == path
    datastore.restore(path, {}, root=str(tmp_path))
    assert rows(database) == ["before"]
    assert rows(database.with_name("state.db.replaced")) == ["before", "after"]


def test_a_copy_that_another_k3s_left_is_never_put_back(database, tmp_path):
    datastore.snapshot("v1.32.0+k3s1", {}, quiet, root=str(tmp_path))
    with pytest.raises(UserError, match=r"no copy of the datastore that k3s v1\.33\.1\+k3s1 left"):
        datastore.copy_for("v1.34.0+k3s1", "v1.33.1+k3s1", {}, root=str(tmp_path))
    with pytest.raises(UserError, match=r"same k3s, v1\.32\.0\+k3s1"):
        datastore.copy_for("v1.32.0+k3s1", "v1.32.0+k3s1", {}, root=str(tmp_path))


def test_the_way_back_by_hand_works_as_it_is_told(database, tmp_path):
    datastore.snapshot("v1.33.1+k3s1", {}, quiet, root=str(tmp_path))
    killed = (
        "import os, sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute(\"insert into kine values ('after')\")\n"
        "connection.commit()\nos._exit(0)"
    )
    subprocess.run([sys.executable, "-c", killed, str(database)], check=True)
    assert database.with_name("state.db-wal").stat().st_size > 0
    said = datastore.how_to_restore({}, root=str(tmp_path))
    commands = said.partition("`")[2].rstrip("`").split("; ")
    assert (commands[0], commands[-1]) == ("systemctl stop k3s", "systemctl start k3s")
    subprocess.run(["sh", "-ec", "; ".join(commands[1:-1])], check=True)
    assert rows(database) == ["before"]


def test_a_few_copies_are_kept(database, tmp_path, monkeypatch):
    for hour in range(6):
        monkeypatch.setattr(datastore.time, "strftime", lambda *_, hour=hour: f"2026T0{hour}")
        datastore.snapshot("v1.33.1+k3s1", {}, quiet, root=str(tmp_path))
    directory = tmp_path / datastore.SNAPSHOTS.strip("/")
    assert sorted(path.name[:7] for path in directory.iterdir()) == [
        "2026T03",
        "2026T04",
        "2026T05",
    ]


def test_an_agent_has_no_datastore(tmp_path):
    assert datastore.snapshot("v1.33.1+k3s1", {}, quiet, root=str(tmp_path)) == ""
    assert datastore.how_to_restore({}, root=str(tmp_path)) == ""


def test_a_datastore_that_cannot_be_copied_stops_the_upgrade(database, tmp_path):
    database.write_text("this is no database, and it is long enough to be looked at" * 20)
    with pytest.raises(UserError, match="cannot be copied"):
        datastore.snapshot("v1.33.1+k3s1", {}, quiet, root=str(tmp_path))
    assert list((tmp_path / datastore.SNAPSHOTS.strip("/")).iterdir()) == []


def test_a_database_is_found_where_k3s_was_told_to_keep_it(tmp_path):
    path = tmp_path / "data" / "server" / "db" / "state.db"
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table kine (name text)")
    told = {"data-dir": ["/data/"]}
    assert datastore.snapshot("v1.33.1+k3s1", told, quiet, root=str(tmp_path))
    assert f"{tmp_path}/data/server/db/state.db" in datastore.how_to_restore(
        told, root=str(tmp_path)
    )


def test_a_database_elsewhere_is_not_copied_and_no_old_one_in_its_place(database, tmp_path):
    said: list[str] = []
    told = {"datastore-endpoint": ["postgres://k3s:secret@db/k3s"]}
    assert datastore.snapshot("v1.33.1+k3s1", told, said.append, root=str(tmp_path)) == ""
    assert said == ["the datastore is not on this node: you must copy it yourself"]


def test_an_empty_directory_of_etcd_is_no_etcd(database, tmp_path):
    """k3s also creates it with sqlite (seen in k3s#4845): `etcd database not found`."""
    (database.parent / "etcd").mkdir()
    path = datastore.snapshot("v1.33.1+k3s1", {}, quiet, root=str(tmp_path))
    assert rows(Path(path)) == ["before"]


def test_a_configuration_that_cannot_be_read_hides_no_rollback(monkeypatch):
    def broken(_: object) -> dict[str, list[str]]:
        raise UserError("must be a map", where="/etc/rancher/k3s/config.yaml")

    monkeypatch.setattr(settings, "of_node", broken)
    assert "/etc/rancher/k3s/config.yaml: must be a map" in datastore.hint(None)
