"""`k3os upgrade` and `--rollback` on a state partition that is a directory; systemd is left out."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from k3os.cli.upgrade import parse
from k3os.config.check import check_text
from k3os.config.load import Config
from k3os.errors import UserError
from k3os.generation import grubenv
from k3os.k3s import settings
from k3os.node import boot_health
from k3os.node import upgrade as command
from k3os.system import run
from k3os.upgrade import datastore
from tests.unit.local_server import content, local_site, sha256

NEW = "v1.34.0+k3s1"


class Node:
    """A node that runs `system`. said: calls of systemctl; ready: replaces the check of k3s."""

    def __init__(self, system: Path, release: Path) -> None:
        self.system = system
        self.root = system.parents[1]
        self.release = release
        self.said: list[list[str]] = []
        self.ready: Callable[[], str] = lambda: ""

    def upgrade(self, *arguments: str) -> int:
        options = parse([*arguments, "--insecure"])
        assert options is not None
        return command.upgrade(options)

    def rollback(self, *arguments: str) -> int:
        options = parse(["--rollback", *arguments])
        assert options is not None
        return command.rollback(options)

    @property
    def on_trial(self) -> str:
        return grubenv.read(str(self.root)).get("k3os_trial", "")

    @property
    def links(self) -> tuple[str, str]:
        names = ("current", "previous")
        return tuple(os.readlink(self.system / name).rpartition("/")[2] for name in names)


@pytest.fixture
def node(system: Path, release: Path, tmp_path: Path, monkeypatch) -> Node:
    found = Node(system, release)

    def record(argv: list[str], **_: object) -> bytes:
        if argv[0] == "systemctl":
            found.said.append(argv[1:])
            return b""
        return real(argv)

    real = run.run
    (tmp_path / "running").write_text("generations/1\n")
    (tmp_path / "k3s").symlink_to(command.K3S_CURRENT)
    for name, path in (
        ("BASE", found.root),
        ("ON_DISK", system),
        ("RUNNING", tmp_path / "running"),
        ("ON_TRIAL", tmp_path / "trial"),
        ("K3S_LINK", tmp_path / "k3s"),
    ):
        monkeypatch.setattr(command, name, str(path))
    monkeypatch.setattr(datastore, "SNAPSHOTS", f"{tmp_path}/snapshots")
    monkeypatch.setattr(settings, "DATA", f"{tmp_path}/data")
    monkeypatch.setattr(settings, "of_node", lambda _: {})
    monkeypatch.setattr(command, "config", lambda: None)
    monkeypatch.setattr(command, "trial_seconds", lambda _: 0.0)
    monkeypatch.setattr(boot_health, "k3s_is_ready", lambda _: found.ready())
    monkeypatch.setattr(run, "run", record)
    return found


def test_k3s_alone_is_on_trial_until_it_is_ready(node):
    during = []

    def ready() -> str:
        during.append((node.on_trial, node.links))
        return ""

    node.ready = ready
    assert node.upgrade("--k3s", str(node.release)) == 0
    assert during == [("2", ("2", "1"))]
    assert node.on_trial == ""
    assert node.links == ("2", "1")
    assert node.said == [["restart", "k3s.service"]]


def test_a_k3s_that_is_not_ready_goes_and_is_no_trial_at_the_next_boot(node):
    node.ready = lambda: "k3s' API server is not ready"
    with pytest.raises(UserError, match=f"{NEW.replace('+', '.')} did not become ready"):
        node.upgrade("--k3s", str(node.release))
    assert node.links == ("1", "2")
    assert node.on_trial == ""


def test_a_k3s_that_was_taken_back_is_on_record_until_the_next_upgrade(node):
    """`k3os status` and the node's condition show it, as after a failed boot."""
    node.ready = lambda: "k3s' API server is not ready"
    with pytest.raises(UserError):
        node.upgrade("--k3s", str(node.release))
    record = json.loads((Path(command.ON_DISK) / "rollback.json").read_text())
    assert record["failed"]["k3s"] == NEW
    assert record["back_to"]["k3s"] != NEW
    assert record["reason"].startswith(f"k3s {NEW} did not become ready: k3s' API server is not")
    node.ready = lambda: ""
    node.upgrade("--k3s", str(node.release))
    assert not (Path(command.ON_DISK) / "rollback.json").exists()


@pytest.mark.parametrize("when", ["--no-reboot", "--reboot"])
def test_a_k3s_that_waits_for_a_boot_is_on_trial_there(node, when):
    node.upgrade("--k3s", str(node.release), when)
    assert node.on_trial == "2"
    assert ["restart", "k3s.service"] not in node.said


def test_a_rollback_with_data_puts_back_what_the_previous_k3s_left(node):
    database = Path(datastore.databases({})) / "state.db"
    database.parent.mkdir(parents=True)
    connection = sqlite3.connect(database)
    connection.execute("create table kine (name text)")
    connection.commit()
    node.upgrade("--k3s", str(node.release))
    connection.execute("insert into kine values ('after')")
    connection.commit()
    connection.close()
    assert node.rollback("--with-data") == 0
    assert node.links == ("1", "2")
    assert ["stop", "k3s.service"] in node.said
    connection = sqlite3.connect(database)
    assert connection.execute("select name from kine").fetchall() == []
    connection.close()


def test_data_is_never_put_back_where_k3s_stays_the_same(node):
    node.upgrade("--k3os", str(node.release))
    with pytest.raises(UserError, match=r"has the same k3s, v1\.33\.1\+k3s1"):
        node.rollback("--with-data")
    assert node.links == ("2", "1")
    assert node.said == []


def test_a_rollback_without_a_previous_generation_stops_nothing(node):
    with pytest.raises(UserError, match="no previous generation"):
        node.rollback("--with-data")
    assert node.said == []


def test_a_mirror_by_http_is_taken_for_what_the_nodes_configuration_pins(
    node, monkeypatch, tmp_path
):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("k3os.k3s.source.machine_arch", lambda machine: "amd64")
    body = f"#!/bin/sh\necho k3s version {NEW}\n".encode()
    monkeypatch.setattr(command, "config", lambda: pinning("0" * 64))
    with local_site() as site:
        monkeypatch.setenv("K3S_RELEASES", site.url)
        version = NEW.replace("+", "%2B")
        site.page(f"/{version}/k3s", content(body))
        site.page(f"/{version}/sha256sum-amd64.txt", content(f"{sha256(body)}  k3s\n".encode()))
        arguments = parse(["--k3s", NEW, "--dry-run"])
        assert arguments is not None
        monkeypatch.setattr(command, "workplace", lambda _: str(tmp_path))
        with pytest.raises(UserError, match=r"what is pinned is 0+"):
            command.upgrade(arguments)
        monkeypatch.setattr(command, "config", Config)
        with pytest.raises(UserError, match="proves nothing"):
            command.upgrade(arguments)
        monkeypatch.setattr(command, "config", lambda: pinning(sha256(body)))
        assert command.upgrade(arguments) == 0


def pinning(digest):
    text = f"k3os: {{k3s_sums: {{{NEW}: {digest}}}}}"
    return Config(check_text(text.encode(), "config.yaml")[0])
