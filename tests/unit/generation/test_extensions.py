"""System extensions: in a manifest, as links for the boot, as text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.generation import adding, damage, extensions, trial
from k3os.generation.extensions import Extension
from k3os.generation.installed import read_installed

NFS = Extension("nfs", "2.8", "a" * 64, 10)
AGENT = Extension("agent", "", "b" * 64, 20)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
EXTENSIONS = st.builds(
    Extension,
    name=NAMES,
    version=st.text(max_size=8),
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    size=st.integers(0, 1 << 40),
)


@given(st.lists(EXTENSIONS, max_size=5, unique_by=lambda each: each.name))
def test_a_manifest_gives_back_what_was_put_in(found: list[Extension]) -> None:
    record = json.loads(json.dumps(extensions.into({"arch": "amd64"}, found)))
    assert extensions.of(record) == tuple(sorted(found, key=lambda each: each.name))
    assert record["arch"] == "amd64"
    assert ("extensions" in record) is bool(found)
    assert extensions.into(record, ()) == {"arch": "amd64"}


@pytest.mark.parametrize(
    "listed",
    [
        None,
        [],
        "nfs",
        {"nfs": None},
        {"nfs": {"sha256": "a" * 63, "size": 1}},
        {"nfs": {"sha256": "A" * 64, "size": 1}},
        {"nfs": {"sha256": "a" * 64, "size": -1}},
        {"nfs": {"sha256": "a" * 64}},
        {"../nfs": {"sha256": "a" * 64, "size": 1}},
        {"a:b": {"sha256": "a" * 64, "size": 1}},
        {"": {"sha256": "a" * 64, "size": 1}},
    ],
)
def test_what_is_none_is_left_out(listed: object) -> None:
    assert extensions.of({"extensions": listed}) == ()


def add(system: Path, number: int, *found: Extension) -> Path:
    record = json.loads((system / "generations/1/manifest.json").read_text())
    links = {name: f"{name}/{record[name]}" for name in ("kernel", "k3os", "k3s")}
    adding.add_generation(str(system), number, extensions.into(record, found), links)
    return system / "generations" / str(number)


def test_the_boot_finds_each_by_its_name(system: Path) -> None:
    (system / "extensions").mkdir()
    (system / NFS.path).write_text("nfs")
    generation = add(system, 2, NFS, AGENT)
    assert sorted(os.listdir(generation / "extensions")) == ["agent.raw", "nfs.raw"]
    assert (generation / "extensions/nfs.raw").read_text() == "nfs"
    assert extensions.of(json.loads((generation / "manifest.json").read_text())) == (AGENT, NFS)


def test_a_generation_without_any_has_no_directory_for_them(system: Path) -> None:
    assert not (add(system, 2) / "extensions").exists()


def test_damage_of_one_is_found(system: Path) -> None:
    (system / "extensions").mkdir()
    (system / NFS.path).write_text("rotten")
    add(system, 2, NFS)
    wanted = damage.sums(read_installed(str(system)), ["generations/2"])
    assert wanted[NFS.path] == NFS.sha256
    assert set(damage.damaged(str(system), wanted)) == {NFS.path}


def test_those_of_a_generation_that_failed_are_on_record(system: Path) -> None:
    root = str(system.parents[1])
    add(system, 2, NFS, AGENT)
    for name, number in (("current", 2), ("previous", 1)):
        (system / name).unlink(missing_ok=True)
        (system / name).symlink_to(f"generations/{number}")
    trial.begin(root, "generations/2", 90)
    trial.go_back(root)
    assert os.readlink(system / "current") == "generations/1"
    assert json.loads((system / "rollback.json").read_text())["extensions"] == "agent, nfs 2.8"


ACTIVE = {"version": "2.8", "reason": ""}
NEXT = Extension("nfs", "3", "c" * 64, 10)


@pytest.mark.parametrize(
    ("report", "running", "following", "said"),
    [
        ({}, (), (), []),
        ({"nfs": ACTIVE}, (NFS,), (NFS,), ["nfs 2.8: active"]),
        (
            {"nfs": {"version": "", "reason": "it is left out: it is damaged"}},
            (NFS,),
            (NFS,),
            ["nfs 2.8: it is left out: it is damaged"],
        ),
        ({}, (), (NFS,), ["nfs: nfs 2.8 after the next boot: `sudo reboot`"]),
        (
            {"nfs": ACTIVE},
            (NFS,),
            (NEXT,),
            ["nfs 2.8: active; nfs 3 after the next boot: `sudo reboot`"],
        ),
        ({"nfs": ACTIVE}, (NFS,), (), ["nfs 2.8: active; gone after the next boot: `sudo reboot`"]),
        (
            {"nfs": ACTIVE, "agent": {"version": "", "reason": ""}},
            (AGENT, NFS),
            (AGENT, NFS),
            ["agent: active", "nfs 2.8: active"],
        ),
        (
            {},
            (NFS,),
            (NFS,),
            ["nfs 2.8: not active: this boot has not looked for extensions"],
        ),
        ({"nfs": "odd"}, (NFS,), (NFS,), ["nfs 2.8: active"]),
    ],
)
def test_each_is_told_with_what_waits_for_a_boot(
    report: dict[str, object],
    running: tuple[Extension, ...],
    following: tuple[Extension, ...],
    said: list[str],
) -> None:
    assert extensions.lines(report, running, following) == said
