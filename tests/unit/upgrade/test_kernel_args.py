"""`k3os upgrade --kernel-args`, and what other upgrades do with kernel arguments."""

import json
import os
from pathlib import Path

import pytest

from k3os.cli.upgrade import parse
from k3os.config.check import check_text
from k3os.config.load import Config
from k3os.errors import UserError
from k3os.generation import grub, kernel_args, trial
from k3os.generation.layout import COMPONENTS, MENU
from k3os.node import kernel_args as command
from k3os.node import upgrade
from k3os.upgrade import previous
from tests.unit.upgrade.test_command import NEW, Node
from tests.unit.upgrade.test_command import node as node
from tests.unit.upgrade.test_previous import K3OS, kept, runs


class Asked:
    """The configuration of the node, which a test may change."""

    def __init__(self) -> None:
        self.text = ""

    def load(self, **_: object) -> tuple[Config, list]:
        values, problems = check_text(self.text.encode(), "config.yaml")
        return Config(values), problems

    def arguments(self, *wanted: str) -> None:
        self.text = f"k3os: {{kernel_args: [{', '.join(wanted)}]}}\n"


@pytest.fixture
def asked(node: Node, monkeypatch) -> Asked:
    found = Asked()
    monkeypatch.setattr("k3os.config.load.load_config", found.load)
    monkeypatch.setattr(grub, "flush_journal", lambda _: None)
    monkeypatch.setattr(command, "BASE", str(node.root))
    grub.write_menu(str(node.root), grub.menu(), "")
    return found


def renew(*words: str) -> int:
    return command.renew(parse(["--kernel-args", *words]))


def of(node: Node, name: str) -> tuple[str, ...]:
    return kernel_args.of(json.loads((node.system / name / "manifest.json").read_text()))


def targets(node: Node, name: str) -> list[str]:
    return [os.readlink(node.system / name / each) for each in COMPONENTS]


def files(node: Node) -> set[Path]:
    return {path for name in COMPONENTS for path in (node.system / name).rglob("*")}


def test_a_generation_of_the_same_files_is_on_trial(node, asked, capsys):
    before = files(node)
    asked.arguments("hugepages=64", "nosmt")
    assert renew() == 0
    assert node.links == ("2", "1")
    assert node.on_trial == "2"
    assert (of(node, "current"), of(node, "previous")) == (("hugepages=64", "nosmt"), ())
    assert targets(node, "current") == targets(node, "previous")
    assert files(node) == before
    assert grub.with_arguments(grub.menu()) == (node.root / MENU).read_text()
    assert "`sudo reboot`" in capsys.readouterr().out
    assert node.said == []


def test_called_again_it_has_nothing_to_do(node, asked, capsys):
    asked.arguments("nosmt")
    renew()
    renew()
    assert kept(node) == ["1", "2"]
    assert "nothing to do" in capsys.readouterr().out


def test_a_dry_run_changes_nothing(node, asked, capsys):
    asked.arguments("nosmt")
    renew("--dry-run")
    assert kept(node) == ["1"]
    assert node.on_trial == ""
    assert "nosmt" in capsys.readouterr().out


def test_without_the_key_they_go_as_they_came(node, asked):
    asked.arguments("nosmt")
    renew()
    runs(node, 2)
    asked.text = "hostname: a\n"
    renew()
    assert node.links == ("3", "2")
    assert node.on_trial == "3"
    assert (of(node, "current"), of(node, "previous")) == ((), ("nosmt",))
    assert not (node.system / "current/grubenv").exists()


def test_what_no_boot_has_had_is_just_taken_back(node, asked, capsys):
    asked.arguments("nosmt")
    renew()
    asked.text = ""
    renew()
    assert node.links == ("1", "1")
    assert node.on_trial == ""
    assert "nothing is left to be done" in capsys.readouterr().out


def test_a_change_before_the_boot_replaces_what_waits(node, asked):
    asked.arguments("nosmt")
    renew()
    asked.arguments("nosmt", "audit=1")
    renew()
    assert node.links == ("3", "1")
    assert node.on_trial == "3"
    assert of(node, "current") == ("nosmt", "audit=1")
    assert kept(node) == ["1", "3"]


@pytest.mark.parametrize(
    "text",
    [
        "k3os: {kernel_args: [nosmt, root=/dev/sda]}\n",
        "k3os: {kernel_args: {a: b}}\n",
        "k3os: [\n",
        "k3os: nonsense\n",
    ],
)
def test_while_it_cannot_be_told_what_is_wanted_all_stays(node, asked, text):
    asked.arguments("audit=1")
    renew()
    runs(node, 2)
    asked.text = text
    with pytest.raises(UserError, match="cannot be told: config"):
        renew()
    assert node.links == ("2", "1")


def test_an_error_somewhere_else_is_no_obstacle(node, asked):
    asked.text = "k3os: {kernel_args: [nosmt], password: [a]}\n"
    renew()
    assert of(node, "current") == ("nosmt",)


def test_what_is_on_trial_is_waited_for(node, asked):
    Path(upgrade.ON_TRIAL).write_text("600\n")
    asked.arguments("nosmt")
    with pytest.raises(UserError, match="on trial"):
        renew()


def test_where_another_loader_starts_k3os_nothing_is_written(node, asked):
    (node.root / MENU).write_text("menuentry 'x' {\n  linux /vmlinuz\n}\n")
    asked.arguments("nosmt")
    with pytest.raises(UserError, match="another boot loader"):
        renew()
    assert kept(node) == ["1"]


def test_a_version_that_waits_goes_again_where_its_arguments_cannot_come(node, asked):
    """As with a NodePool that wants both."""
    node.upgrade(str(node.release), "--no-reboot")
    asked.text = "k3os: [\n"
    with pytest.raises(UserError, match="cannot be told"):
        renew("--no-reboot")
    node.rollback("--no-reboot")
    assert node.links == ("1", "2")
    assert node.on_trial == ""
    assert kernel_args.refused(str(node.system)) == {}
    node.upgrade(str(node.release), "--no-reboot")
    assert (node.links, node.on_trial) == (("3", "1"), "3")


@pytest.mark.parametrize("parts", [(), ("--k3s",), ("--k3os",)])
def test_an_upgrade_carries_them_over(node, asked, parts):
    asked.arguments("nosmt")
    renew()
    runs(node, 2)
    node.upgrade(*parts, str(node.release), "--no-reboot")
    assert of(node, "current") == of(node, "previous") == ("nosmt",)
    assert "k3os.args_of=3" in (node.system / "current/grubenv").read_text()


def test_a_new_k3s_waits_for_the_boot_that_the_arguments_need(node, asked):
    asked.arguments("nosmt")
    renew()
    node.upgrade("--k3s", str(node.release))
    assert node.said == []
    assert node.on_trial == "3"


def test_a_rollback_brings_those_of_the_previous_generation_and_they_stay(node, asked):
    asked.arguments("nosmt")
    renew()
    runs(node, 2)
    node.rollback()
    assert node.links == ("1", "2")
    assert of(node, "current") == ()
    record = kernel_args.refused(str(node.system))
    assert record["kernel_args"] == ["nosmt"]
    assert "--rollback" in record["reason"]


def test_a_power_cut_in_a_rollback_brings_no_arguments_back(node, asked, monkeypatch):
    class Cut(BaseException):
        pass

    def cut(_: str) -> None:
        raise Cut

    asked.arguments("nosmt")
    renew()
    runs(node, 2)
    with monkeypatch.context() as patched, pytest.raises(Cut):
        patched.setattr(trial, "confirm", cut)
        node.rollback()
    assert node.links[0] == "1"
    assert kernel_args.refused(str(node.system))["kernel_args"] == ["nosmt"]


def test_a_rollback_of_versions_refuses_no_arguments(node, asked):
    asked.arguments("nosmt")
    renew()
    runs(node, 2)
    node.upgrade(str(node.release), "--no-reboot")
    node.rollback()
    assert kernel_args.refused(str(node.system)) == {}


def test_who_asks_by_hand_gets_a_failed_one_once_more(node, asked):
    asked.arguments("nosmt")
    renew()
    trial.fail(str(node.root), "it hung")
    trial.go_back(str(node.root))
    assert kernel_args.refused(str(node.system))["reason"] == "it hung"
    renew()
    assert kernel_args.refused(str(node.system)) == {}
    assert of(node, "current") == ("nosmt",)


def test_a_way_back_that_would_change_the_arguments_too_is_none(node, asked):
    node.upgrade(str(node.release))
    runs(node, 2)
    options = previous.asked(parse([*K3OS, "--k3s", "v1.33.1+k3s1", "--allow-downgrade"]))
    assert previous.is_way_back(upgrade.look(), options)
    path = node.system / "current/manifest.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "kernel_args": ["nosmt"]}))
    assert not previous.is_way_back(upgrade.look(), options)


@pytest.mark.parametrize("words", [["--k3s", NEW], ["SRC"], ["--rollback"], ["--insecure"]])
def test_it_goes_with_nothing_else(words):
    with pytest.raises(UserError):
        parse(["--kernel-args", *words])
