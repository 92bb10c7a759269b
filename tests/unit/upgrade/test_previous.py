"""An older version that is the previous generation: used from there, on trial, without a
download."""

import sqlite3
from pathlib import Path

import pytest

from k3os.cli.upgrade import parse
from k3os.errors import UserError
from k3os.generation.layout import link
from k3os.generation.versions import is_minor_back
from k3os.node.upgrade import look
from k3os.upgrade import datastore, previous
from tests.unit.upgrade.test_command import NEW, Node
from tests.unit.upgrade.test_command import node as node

OLD = "v1.33.1+k3s1"
K3OS = ("--k3os", "http://127.0.0.1:1/v0.1.0", "--expect", "v0.1.0")


def runs(node: Node, number: int) -> None:
    """The state after a healthy boot of this generation."""
    from k3os.generation import trial
    from k3os.node import upgrade

    Path(upgrade.RUNNING).write_text(f"generations/{number}\n")
    trial.confirm(str(node.root))


def kept(node: Node) -> list[str]:
    return sorted(each.name for each in (node.system / "generations").iterdir())


def test_k3s_and_k3os_go_back_to_what_lies_there(node) -> None:
    node.upgrade(str(node.release))
    runs(node, 2)
    assert node.upgrade(*K3OS, "--k3s", OLD, "--allow-downgrade", "--no-reboot") == 0
    assert node.links == ("1", "2")
    assert node.on_trial == "1"
    assert kept(node) == ["1", "2"]


def test_k3s_alone_goes_back_without_a_boot(node) -> None:
    node.upgrade("--k3s", str(node.release))
    assert node.upgrade("--k3s", OLD, "--allow-downgrade") == 0
    assert node.links == ("1", "2")
    assert node.said == [["restart", "k3s.service"]] * 2
    assert node.on_trial == ""


def test_an_older_k3s_that_is_not_ready_makes_way_for_the_newer_one(node) -> None:
    node.upgrade("--k3s", str(node.release))
    node.ready = lambda: "k3s cannot read the datastore"
    with pytest.raises(UserError, match="did not become ready"):
        node.upgrade("--k3s", OLD, "--allow-downgrade")
    assert node.links == ("2", "1")


def test_a_dry_run_switches_nothing(node, capsys) -> None:
    node.upgrade("--k3s", str(node.release))
    assert node.upgrade("--k3s", OLD, "--allow-downgrade", "--dry-run") == 0
    assert node.links == ("2", "1")
    assert "back to generations/1" in capsys.readouterr().out


def test_called_again_before_the_boot_it_has_nothing_to_do(node, capsys) -> None:
    node.upgrade(str(node.release))
    runs(node, 2)
    again = (*K3OS, "--k3s", OLD, "--allow-downgrade", "--no-reboot")
    node.upgrade(*again)
    assert node.upgrade(*again) == 0
    assert "wait for a reboot" in capsys.readouterr().out
    assert node.links == ("1", "2")


@pytest.mark.parametrize(
    ("installed", "arguments", "way"),
    [
        (["--k3s"], ["--k3s", OLD], True),
        # not the previous generation, or only a part of it
        (["--k3s"], ["--k3s", "v1.32.0+k3s1"], False),
        ([], ["--k3s", OLD], False),
        ([], list(K3OS), False),
        ([], [*K3OS, "--k3s", OLD], True),
        # may be any version, so it must be read
        ([], [*K3OS[:2], "--k3s", OLD], False),
        ([], [*K3OS, "--no-kernel", "--k3s", OLD], False),
        ([], ["/releases/v0.1.0"], False),
        (["--k3s"], ["--k3s", "/k3s"], False),
    ],
)
def test_what_the_previous_generation_is_not_is_fetched_as_ever(
    node, installed, arguments, way
) -> None:
    node.upgrade(*installed, str(node.release))
    runs(node, 2)
    wanted = previous.asked(parse([*arguments, "--allow-downgrade"]))
    assert previous.is_way_back(look(), wanted) is way


def test_a_newer_previous_generation_is_no_way_back(node) -> None:
    """It failed its trial, but may have been published again since."""
    node.upgrade("--k3s", str(node.release))
    node.rollback()
    runs(node, 1)
    assert not previous.is_way_back(look(), {"k3s": NEW})
    assert link(f"{node.system}/current") == "generations/1"


def test_the_copy_of_before_is_named_and_not_used(node, capsys) -> None:
    database = Path(datastore.databases({})) / "state.db"
    database.parent.mkdir(parents=True)
    connection = sqlite3.connect(database)
    connection.execute("create table kine (name text)")
    connection.commit()
    node.upgrade("--k3s", str(node.release))
    connection.execute("insert into kine values ('after')")
    connection.commit()
    (copy,) = datastore.copies(version=OLD)
    node.upgrade("--k3s", OLD, "--allow-downgrade")
    said = capsys.readouterr().out
    assert f"{NEW} -> {OLD}" in said
    assert f"cp {copy} {database}" in said
    assert connection.execute("select name from kine").fetchall() == [("after",)]
    connection.close()
    assert [NEW in each for each in datastore.copies()] == [False, True], "and one of now"


def test_where_the_datastore_fits_or_is_elsewhere_nothing_is_said(tmp_path) -> None:
    settings = {"data-dir": [str(tmp_path / "data")]}
    assert datastore.going_back(NEW, OLD, settings) == "", "an agent"
    Path(datastore.databases(settings)).mkdir(parents=True)
    assert datastore.going_back(OLD, "v1.33.0+k3s1", settings) == ""
    assert datastore.going_back(OLD, NEW, settings) == ""
    assert f"no copy that k3s {OLD} left" in datastore.going_back(NEW, OLD, settings)


@pytest.mark.parametrize(
    ("old", "new", "back"),
    [
        ("v1.34.0+k3s1", "v1.33.9+k3s1", True),
        ("v1.34.1+k3s1", "v1.34.0+k3s1", False),
        ("v1.9.0", "v1.34.0", False),
        ("v1.34.0", "v1.9.0", True),
        ("", "v1.33.0", False),
        ("v1.33.0", "local", False),
    ],
)
def test_which_way_over_a_minor_version(old, new, back) -> None:
    assert is_minor_back(old, new) is back
