"""The trial of a new generation, as files on a state partition."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.errors import UserError
from k3os.generation import grubenv, switching, trial
from k3os.node.status import rollback
from tests.unit.generation.conftest import lay_down

NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
TEXTS = st.text(st.characters(codec="ascii", exclude_characters="\n\r"), max_size=20)


@pytest.fixture
def root(system: Path) -> Path:
    """A state partition where generation 2 has just become the current one."""
    lay_down(system, 2, kernel="6.12.9", k3os="0.2.0", k3s="v1.34.0+k3s1")
    (system / "previous").symlink_to("generations/1")
    os.unlink(system / "current")
    (system / "current").symlink_to("generations/2")
    found = system.parents[1]
    trial.begin(str(found), "generations/2", 90)
    return found


def links(root: Path) -> tuple[str, str]:
    system = root / "k3os/system"
    return os.readlink(system / "current"), os.readlink(system / "previous")


def test_a_trial_is_written_for_grub(root):
    assert grubenv.read(str(root)) == {
        "k3os_trial": "2",
        "k3os_tries": "3",
        "k3os_timeout": "90",
    }
    assert (root / "boot/grub/grubenv").stat().st_size == 1024


def test_a_healthy_version_stays(root):
    trial.confirm(str(root))
    assert grubenv.read(str(root)) == {}
    assert links(root) == ("generations/2", "generations/1")


def test_an_unhealthy_version_goes_and_the_record_says_why(root):
    trial.fail(str(root), "k3s' API server is not ready")
    assert grubenv.read(str(root))["k3os_tries"] == "0"
    assert "k3s' API server is not ready" in trial.go_back(str(root))
    assert links(root) == ("generations/1", "generations/2")
    assert grubenv.read(str(root)) == {}
    record = rollback(str(root / "k3os/system")).as_dict()
    assert record["reason"] == "k3s' API server is not ready"
    assert record["failed"]["k3os"] == "0.2.0"
    assert record["back_to"]["k3os"] == "0.1.0"


def test_a_version_that_left_no_word_is_said_to_have_ended_badly(root):
    trial.go_back(str(root))
    assert "panic" in rollback(str(root / "k3os/system")).as_dict()["reason"]


def test_a_power_cut_between_the_two_links_of_the_way_back_loses_nothing(root):
    system = root / "k3os/system"
    os.unlink(system / "current")
    (system / "current").symlink_to("generations/1")
    trial.go_back(str(root))
    assert links(root) == ("generations/1", "generations/2")


class Cut(BaseException):
    """The power is cut."""


@pytest.mark.parametrize("renames", range(6))
def test_a_power_cut_in_the_way_back_never_starts_what_failed(root, monkeypatch, renames):
    """GRUB starts `previous` if no attempt is left, and `current` if nothing is on trial."""
    trial.fail(str(root), "it hung")
    left = iter(range(renames))
    real = os.rename

    def rename(*names: str) -> None:
        if next(left, None) is None:
            raise Cut
        real(*names)

    with monkeypatch.context() as patched, contextlib.suppress(Cut):
        patched.setattr(os, "rename", rename)
        trial.go_back(str(root))
    is_on_trial = bool(trial.on_trial(str(root)))
    assert links(root)[is_on_trial] == "generations/1"
    if is_on_trial:
        trial.go_back(str(root))
    assert links(root)[0] == "generations/1"
    assert grubenv.read(str(root)) == {}


def test_the_first_generation_has_nothing_to_go_back_to(system):
    (system / "previous").symlink_to("generations/1")
    with pytest.raises(UserError, match="nothing to go back to"):
        trial.go_back(str(system.parents[1]))


def test_the_next_trial_forgets_the_last_ones_failure(root):
    trial.fail(str(root), "old news")
    trial.begin(str(root), "generations/2", 60)
    trial.go_back(str(root))
    assert "old news" not in json.dumps(rollback(str(root / "k3os/system")).as_dict())


@given(st.dictionaries(NAMES, TEXTS, max_size=8))
def test_the_block_holds_what_was_put_into_it(variables):
    data = grubenv.block(variables)
    assert len(data) == 1024
    assert grubenv.parse(data) == variables


def test_grubs_own_program_reads_what_we_write(tmp_path):
    grubenv.write(str(tmp_path), {"k3os_trial": "2", "k3os_tries": "3"})
    path = tmp_path / "boot/grub/grubenv"
    listed = subprocess.run(
        ["grub-editenv", str(path), "list"], check=True, capture_output=True, text=True
    )
    assert listed.stdout.split() == ["k3os_trial=2", "k3os_tries=3"]
    subprocess.run(["grub-editenv", str(path), "set", "k3os_tries=2"], check=True)
    assert grubenv.read(str(tmp_path))["k3os_tries"] == "2"


def test_a_block_that_is_none_has_no_variables():
    assert grubenv.parse(b"") == {}
    assert grubenv.parse(b"x" * 1024) == {}


def test_grub_sees_the_end_of_a_trial_without_the_journal(root, monkeypatch):
    flushed = []
    monkeypatch.setattr(
        switching, "flush_journal", lambda path: flushed.append((path, grubenv.read(str(root))))
    )
    trial.fail(str(root), "it hung")
    trial.confirm(str(root))
    trial.confirm(str(root))
    given_up = {"k3os_trial": "2", "k3os_tries": "0", "k3os_timeout": "90"}
    assert flushed == [(str(root), given_up), (str(root), {})]


@pytest.mark.parametrize(
    ("running", "waits"), [("generations/1", True), ("generations/2", False), ("", False)]
)
def test_a_boot_of_another_generation_says_nothing_of_the_one_on_trial(root, running, waits):
    """Right after a power cut, GRUB may not see the switch yet."""
    assert trial.waits(str(root), running) is waits
    trial.confirm(str(root))
    assert not trial.waits(str(root), running)


def test_a_trial_whose_switch_never_came_waits_for_nothing(root):
    system = root / "k3os/system"
    os.unlink(system / "current")
    (system / "current").symlink_to("generations/1")
    assert not trial.waits(str(root), "generations/1")
