"""Requests of the operator: what is refused, what is left to do, what the result is."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os import names
from k3os.cli import apply as command
from k3os.cli.main import call, hand_over
from k3os.cluster import config_trial, own_node, result
from k3os.cluster.impact import canonical, fragment_hash
from k3os.cluster.node_status import ActionOutcome, Failure, NodeStatus, Rollback, TakenBack
from k3os.cluster.request import BadRequest, NodeRequest, Wanted, parse, remaining
from k3os.config.check import check_text
from k3os.config.load import load_config
from k3os.errors import ERROR_FILE, UserError
from k3os.node import apply, k3s_restart
from k3os.system.frozen import replace
from k3os.system.own_command import handed_over
from k3os.system.run import CommandError

RELEASE = {"version": "v1.2.0", "url": "https://example.com/releases"}
SYSCTLS = {"k3os": {"sysctls": {"vm.max_map_count": "262144"}}}
RUNNING = {"k3os": "1.1.0", "k3s": "v1.33.1+k3s1"}


def request(**more: Any) -> bytes:
    return json.dumps({"id": "r1", **more}).encode()


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"{", ""),
        (b"[]", "id"),
        (b'{"id": "../x"}', "id"),
        (request(config=[1]), "config"),
        (request(config={"hostname": "a_b"}), "config"),
        (request(k3os={"version": "v1.2.0"}), "k3os.url"),
        (request(k3os={**RELEASE, "version": "../../etc"}), "k3os.version"),
        (request(k3os={**RELEASE, "url": "file:///etc"}), "k3os.url"),
        (request(k3os={**RELEASE, "url": "https://u:hunter2@x.example"}), "k3os.url"),
        (request(k3os={**RELEASE, "url": "ftp://u:hunter2@x.example"}), "k3os.url"),
        (request(k3os="v1.2.0"), "k3os"),
        (request(config=[]), "config"),
        (request(config=SYSCTLS, configHash="hunter2"), "configHash"),
        (request(config=SYSCTLS, configHash=[1]), "configHash"),
        (b"[" * 100_000, ""),
        (request(k3s={"version": "--rollback"}), "k3s.version"),
    ],
)
def test_what_no_node_can_obey_is_refused_with_its_field(data: bytes, where: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(data)
    assert caught.value.where == where
    assert caught.value.exit_code == 2
    assert "hunter2" not in str(caught.value)


@given(
    st.binary(max_size=60)
    | st.builds(
        lambda x: request(**x),
        st.dictionaries(
            st.sampled_from(["k3os", "k3s", "config", "reboot"]),
            st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.text()),
        ),
    )
)
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    try:
        assert parse(data).id
    except BadRequest as error:
        assert error.message


@pytest.mark.parametrize(
    ("wanted", "fragment", "left"),
    [
        ({}, {}, (False, False, False, False)),
        ({"k3os": RELEASE}, {}, (True, False, False, True)),
        ({"k3os": {**RELEASE, "version": "v1.1.0"}}, {}, (False, False, False, False)),
        ({"k3s": {"version": "v1.34.0+k3s1"}}, {}, (False, True, False, False)),
        ({"config": SYSCTLS}, {}, (False, False, True, False)),
        ({"config": SYSCTLS}, SYSCTLS, (False, False, False, False)),
        ({}, SYSCTLS, (False, False, True, False)),
        ({"config": {"boot_cmd": ["true"]}}, {}, (False, False, True, True)),
    ],
)
def test_only_what_differs_is_left_to_do(wanted, fragment, left) -> None:
    work = remaining(parse(request(**wanted)), RUNNING, fragment)
    assert (work.k3os, work.k3s, work.config, work.reboot) == left
    assert work.is_nothing == (not any(left))


class Killed(BaseException):
    """`k3os apply` is killed halfway."""


def no_such_setting(host: "Host") -> Failure:
    """A failure in the fragment that the operator wrote."""
    path = str(host.fragment)
    return Failure("runtime", f"{path}:3:1: k3os.sysctls.no: no such setting", path)


class Host:
    """A node whose programs are only recorded; upgrade: what `k3os upgrade` says, or raises."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[list[str]] = []
        self.told: list[str] = []  # results for which a report was requested
        self.environment: dict[str, str | None] = {}
        self.upgrade_fails = ""
        self.failures: list[Failure] = []
        self.status = NodeStatus(versions={"running": dict(RUNNING)}, boot_id="b1")
        self.fragment = root / "config.d/80-nodepool.yaml"
        self.result = root / "last-result.json"
        self.dies_at = ""
        self.run_now: Callable[..., bytes] | None = None
        self.switched_before = False  # then `k3os upgrade` finds nothing to do
        monkeypatch.setattr("k3os.system.run.run", self.run)
        monkeypatch.setattr("k3os.node.cluster_report.request_report", self.soon)
        monkeypatch.setattr("k3os.node.status.collect", lambda: self.status)
        monkeypatch.setattr("k3os.node.status_text.failures", lambda _: self.failures)
        self.record = root / "fragment-trial.json"
        monkeypatch.setattr(config_trial, "FRAGMENT", str(self.fragment))
        monkeypatch.setattr(config_trial, "FRAGMENT_TRIAL", str(self.record))
        monkeypatch.setattr("k3os.cluster.own_node.FRAGMENT", str(self.fragment))
        monkeypatch.setattr("k3os.node.upgrade.config", lambda: load_config(root=str(root))[0])
        monkeypatch.setattr(apply, "FRAGMENT", str(self.fragment))
        monkeypatch.setattr(apply.write_fragment, "__defaults__", (str(self.fragment),))
        monkeypatch.setattr(result.read, "__defaults__", (str(self.result),))
        monkeypatch.setattr(result.write, "__defaults__", (str(self.result),))
        monkeypatch.setattr(apply, "PENDING", str(root / "pending"))
        monkeypatch.setattr(apply, "UPGRADE_ERROR", str(root / "upgrade-error.json"))
        monkeypatch.setattr(apply, "boot_id", lambda: self.status.boot_id)
        monkeypatch.setattr(
            k3s_restart,
            "restart_for_configuration",
            lambda _: self.commands.append(["restart k3s"]),
        )
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        self.request = root / "request.json"

    def soon(self) -> None:
        """Record the current result as reported."""
        self.told.append(self.known["state"] if self.result.exists() else "")
        if self.dies_at == "report":
            raise Killed

    def run(self, argv: list[str], **options: Any) -> bytes:
        if self.run_now is not None:
            return self.run_now(argv, **options)
        self.commands.append(argv)
        if self.dies_at and " ".join(argv).startswith(self.dies_at):
            raise Killed
        if argv[:2] == ["k3os", "upgrade"]:
            self.environment = dict(options["env"])
            error_file = self.environment.pop(ERROR_FILE)
            if self.upgrade_fails:
                error = UserError(self.upgrade_fails.rpartition("error: ")[2])
                hand_over(error, str(error_file))
                raise CommandError(argv, 1, self.upgrade_fails.encode())
            if "--k3s" in argv and "--no-reboot" not in argv and not self.switched_before:
                running = {**RUNNING, "k3s": argv[argv.index("--k3s") + 1]}
                self.status = replace(self.status, versions={"running": running})
        return b""

    def apply(
        self, capsys: pytest.CaptureFixture[str], **wanted: Any
    ) -> tuple[int, dict[str, Any]]:
        self.commands.clear()
        self.request.write_bytes(request(**wanted))
        code = command.main([str(self.request)])
        said = capsys.readouterr().out
        assert "secret" not in said
        return code, json.loads(said.splitlines()[-1])

    def boot(self, name: str, **status: Any) -> None:
        """Reboot: /run is empty."""
        Path(apply.PENDING).unlink(missing_ok=True)
        self.status = replace(self.status, boot_id=name, **status)

    @property
    def programs(self) -> list[str]:
        return [" ".join(argv[:2]) for argv in self.commands]

    @property
    def known(self) -> dict[str, Any]:
        found = json.loads(self.result.read_text())
        assert isinstance(found, dict)
        return found


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_configuration_is_written_for_root_applied_and_done_once(host, capsys) -> None:
    code, told = host.apply(capsys, config={**SYSCTLS, "hostname": "secret-name"})
    assert (code, told["state"], told["rebootNeeded"]) == (0, names.SUCCEEDED, False)
    assert host.programs == ["k3os config"]
    assert host.fragment.stat().st_mode & 0o777 == 0o600
    assert host.known["state"] == names.SUCCEEDED
    code, told = host.apply(capsys, config={**SYSCTLS, "hostname": "secret-name"})
    assert (code, told["state"]) == (0, "NoChange")
    assert host.programs == []
    code, told = host.apply(capsys)
    assert not host.fragment.exists()


def test_a_configuration_with_secrets_has_the_name_that_it_was_given(host, capsys) -> None:
    wifi = {"k3os": {"wifi": [{"name": "home", "passphrase": "topsecret-passphrase"}]}}
    one, two = f"{'a' * 64}-12345678", f"{'a' * 64}-87654321"
    code, told = host.apply(capsys, config=wifi, configHash=one)
    assert (code, told["state"]) == (0, names.SUCCEEDED)
    assert own_node.hash_of_fragment() == one
    assert own_node.fragment() == wifi
    assert host.fragment.stat().st_mode & 0o777 == 0o600
    # a node reads it as its configuration
    values, problems = check_text(host.fragment.read_bytes(), "80")
    assert problems == [] and "k3os.wifi" in values
    # the same content with another hash changes nothing but the recorded hash
    code, told = host.apply(capsys, id="r2", config=wifi, configHash=two)
    assert (code, told["state"]) == (0, "NoChange")
    assert not any("config" in each for each in host.commands)
    assert own_node.hash_of_fragment() == two
    # an edited fragment has a hash that is never wanted, and reveals nothing about its contents
    host.fragment.write_bytes(host.fragment.read_bytes().replace(b"topsecret", b"other"))
    assert own_node.hash_of_fragment() == own_node.EDITED
    host.apply(capsys, id="r3", config=SYSCTLS)
    assert own_node.hash_of_fragment() == fragment_hash(SYSCTLS)


def test_a_configuration_that_is_taken_back_has_its_former_name(host, capsys) -> None:
    host.apply(capsys, config=SYSCTLS, configHash="b" * 64)
    host.failures = [no_such_setting(host)]
    other = {"k3os": {"sysctls": {"no": "1"}}}
    code, _ = host.apply(capsys, id="r2", config=other, configHash="c" * 64)
    assert code == 1
    assert own_node.hash_of_fragment() == "b" * 64


@pytest.mark.parametrize(
    "config",
    [
        {"k3os": {"wifi": [{"name": "home", "passphrase": "hunter2"}]}},
        {"k3os": {"wifi": [{"name": "home", "passphrase": "hunter2\nhunter2"}]}},
        {"k3os": {"password": "hunter2\nx"}},
        {"k3os": {"token": "hunter2 hunter2\n"}},
        {"k3os": {"environment": {"A": "hunter2\nhunter2"}}},
        {"write_files": [{"path": "/etc/a", "content": "hunter2", "encoding": "b64"}]},
        {"write_files": [{"path": "/etc/a", "content": "hunter2", "encoding": "gz+b64"}]},
        {"k3os": {"registries": {"configs": {"r:1": {"auth": {"password": ["hunter2"]}}}}}},
    ],
)
def test_a_value_that_cannot_be_is_refused_without_being_shown(host, capsys, config) -> None:
    _, told = host.apply(capsys, config=config, configHash="b" * 64)
    assert "hunter2" not in json.dumps(told) + capsys.readouterr().out


def test_new_arguments_of_k3s_restart_it_and_nothing_else(host, capsys) -> None:
    _, told = host.apply(capsys, config={"k3os": {"k3s_args": ["--disable=traefik"]}})
    assert told["k3sRestart"]
    assert host.programs == ["k3os config", "restart k3s"]


def test_a_boot_is_not_made_where_the_node_was_not_drained(host, capsys) -> None:
    code, told = host.apply(capsys, k3os=RELEASE)
    assert (code, told["state"], told["rebootNeeded"]) == (0, "RebootRequired", True)
    assert host.programs == []
    assert not host.result.exists()


def test_a_dry_run_only_finds_out_whether_it_would_work(host, capsys) -> None:
    code, told = host.apply(capsys, k3os=RELEASE, config=SYSCTLS, reboot=True, dryRun=True)
    assert (code, told["state"], told["rebootNeeded"]) == (0, "Planned", True)
    (upgrade,) = host.commands
    assert upgrade[:2] == ["k3os", "upgrade"]
    assert upgrade[-1] == "--dry-run"
    assert not host.fragment.exists()
    assert not host.result.exists()


def test_versions_are_upgraded_and_the_boot_comes_after_the_answer(host, capsys) -> None:
    k3s = {"version": "v1.34.0+k3s1", "url": "https://mirror.example"}
    code, told = host.apply(capsys, k3os=RELEASE, k3s=k3s, reboot=True)
    assert (code, told["state"]) == (0, names.REBOOTING)
    upgrade = next(argv for argv in host.commands if argv[:2] == ["k3os", "upgrade"])
    assert upgrade[2:] == [
        *("--k3os", "https://example.com/releases/v1.2.0", "--expect", "v1.2.0"),
        *("--k3s", "v1.34.0+k3s1", "--no-reboot"),
    ]
    assert host.environment == {"K3S_RELEASES": "https://mirror.example"}
    assert host.programs[-1] == "systemd-run -q"
    assert host.known["wanted"] == {"k3os": "v1.2.0", "k3s": "v1.34.0+k3s1"}


@pytest.mark.parametrize("rollback", [True, False])
def test_an_older_version_is_taken_where_it_is_allowed(
    host, capsys, tmp_path, monkeypatch, rollback
) -> None:
    monkeypatch.setattr("k3os.k3s.settings.of_node", lambda _: {"data-dir": [str(tmp_path)]})
    (tmp_path / "server/db").mkdir(parents=True)
    older = {"version": "v1.32.0+k3s1"}
    _, told = host.apply(capsys, k3s=older, rollback=rollback, dryRun=True)
    (upgrade,) = host.commands
    assert ("--allow-downgrade" in upgrade) is rollback
    assert ("v1.33.1+k3s1 -> v1.32.0+k3s1" in told.get("datastore", "")) is rollback


def test_k3s_alone_needs_no_boot(host, capsys) -> None:
    _, told = host.apply(capsys, k3s={"version": "v1.34.0+k3s1"})
    assert told["state"] == names.SUCCEEDED
    assert ["k3os", "upgrade", "--k3s", "v1.34.0+k3s1"] in host.commands


def test_a_k3s_that_was_switched_to_but_never_started_asks_for_a_boot(host, capsys) -> None:
    host.switched_before = True
    wanted = {"k3s": {"version": "v1.34.0+k3s1"}}
    _, told = host.apply(capsys, **wanted)
    assert (told["state"], told["rebootNeeded"]) == ("RebootRequired", True)
    _, told = host.apply(capsys, **wanted, reboot=True)
    assert told["state"] == host.known["state"] == names.REBOOTING
    assert host.programs[-1] == "systemd-run -q"


def test_a_failure_has_the_words_of_the_upgrade(host, capsys) -> None:
    host.upgrade_fails = "kernel 6.12 stays\nk3os: error: there is not enough space: 80 MB missing"
    code, told = host.apply(capsys, k3os=RELEASE, reboot=True)
    assert (code, told["state"]) == (1, names.FAILED)
    assert told["message"] == "there is not enough space: 80 MB missing"
    assert host.known["state"] == names.FAILED
    assert "systemd-run -q" not in host.programs


def test_a_value_that_cannot_be_applied_fails_the_request(host, capsys) -> None:
    host.failures = [no_such_setting(host), Failure("runtime", "other")]
    code, told = host.apply(capsys, config=SYSCTLS)
    assert code == 1
    assert "no such setting" in told["message"]
    assert "other" not in told["message"]


def test_what_rolled_back_is_not_tried_again_by_the_same_request(host, capsys) -> None:
    host.apply(capsys, k3os=RELEASE, reboot=True)
    host.status = replace(host.status, boot_id="b2")
    host.status = replace(host.status, rollback=Rollback({"when": "9999", "reason": "it hung"}))
    code, told = host.apply(capsys, k3os=RELEASE, reboot=True)
    assert (code, told["state"], told["message"]) == (1, names.ROLLED_BACK, "it hung")
    assert host.programs == []


BOOT_KEY = {"boot_cmd": ["true"]}
ARGUMENTS = {"k3os": {"k3s_args": ["--disable=traefik"]}}


@pytest.mark.parametrize(
    ("wanted", "dies_at", "state", "last"),
    [
        ({"config": SYSCTLS}, "k3os config", names.SUCCEEDED, "k3os config"),
        ({"config": ARGUMENTS}, "k3os config", names.SUCCEEDED, "restart k3s"),
        ({"config": BOOT_KEY}, "report", names.REBOOTING, "systemd-run -q"),
        ({"config": BOOT_KEY}, "systemd-run", names.REBOOTING, "systemd-run -q"),
        ({"k3os": RELEASE}, "k3os upgrade", names.REBOOTING, "systemd-run -q"),
        ({"k3os": RELEASE, "config": SYSCTLS}, "systemd-run", names.REBOOTING, "systemd-run -q"),
    ],
)
def test_killed_at_any_moment_it_goes_on(host, capsys, wanted, dies_at, state, last) -> None:
    host.dies_at = dies_at
    with pytest.raises(Killed):
        host.apply(capsys, **wanted, reboot=True)
    host.dies_at = ""
    _, told = host.apply(capsys, **wanted, reboot=True)
    assert told["state"] == host.known["state"] == state
    assert host.programs[-1] == last


def test_the_cluster_is_told_once_a_result_is_written_down(host, capsys) -> None:
    host.apply(capsys, config=SYSCTLS)
    assert host.told == [names.SUCCEEDED]
    host.failures = [no_such_setting(host)]
    host.apply(capsys, id="r2", config={"k3os": {"sysctls": {"no": 1}}})
    assert host.told == [names.SUCCEEDED, names.FAILED]


def test_a_failed_upgrade_leaves_the_configuration_as_it_was(host, capsys) -> None:
    host.upgrade_fails = "error: no such release"
    host.apply(capsys, k3os=RELEASE, config=SYSCTLS, reboot=True)
    assert not host.fragment.exists()


def test_new_arguments_count_also_beside_a_new_k3s(host, capsys) -> None:
    host.apply(capsys, k3s={"version": "v1.34.0+k3s1"}, config=ARGUMENTS)
    assert host.programs == ["k3os upgrade", "k3os config", "restart k3s"]


def test_what_failed_does_not_count_as_done_for_the_next_request(host, capsys) -> None:
    host.failures = [no_such_setting(host)]
    host.apply(capsys, config=SYSCTLS)
    _, told = host.apply(capsys, id="r2", config=SYSCTLS)
    assert told["state"] == names.FAILED
    host.boot("b2")
    _, told = host.apply(capsys, id="r3", config=SYSCTLS)
    assert told["state"] == names.FAILED
    host.failures = []
    _, told = host.apply(capsys, id="r4", config=SYSCTLS)
    assert told["state"] == names.SUCCEEDED
    assert json.loads(host.fragment.read_text()) == SYSCTLS


def test_a_trial_is_no_success_yet(host, capsys) -> None:
    host.apply(capsys, k3os=RELEASE, reboot=True)
    host.boot("b2", on_trial=True, versions={"running": {**RUNNING, "k3os": "v1.2.0"}})
    _, told = host.apply(capsys, k3os=RELEASE, reboot=True)
    assert (told["state"], host.programs) == (names.REBOOTING, [])
    code, told = host.apply(capsys, id="r2", config=SYSCTLS)
    assert (code, told["state"], host.programs) == (1, names.FAILED, [])
    assert host.known["request"] == "r1"
    host.boot("b3", on_trial=False, versions={"running": RUNNING})
    host.status = replace(host.status, rollback=Rollback({"when": "9999", "reason": "it hung"}))
    _, told = host.apply(capsys, k3os=RELEASE, reboot=True)
    assert (told["state"], told["message"]) == (names.ROLLED_BACK, "it hung")


def test_a_configuration_that_fails_at_once_is_taken_back(host, capsys) -> None:
    host.apply(capsys, config=SYSCTLS)
    assert not host.record.exists()
    before = host.fragment.read_bytes()
    failing = {"k3os": {"sysctls": {"no.such": "1"}}}

    def config_fails(argv: list[str], **options: Any) -> bytes:
        host.commands.append(argv)
        bad = b"no.such" in host.fragment.read_bytes()
        host.failures = [no_such_setting(host)] if bad else []
        return b""

    host.run_now = config_fails
    code, told = host.apply(capsys, id="r2", config=failing)
    assert (code, told["state"]) == (1, names.FAILED)
    assert "no such setting" in told["message"]
    assert "the former configuration is back" in told["message"]
    assert host.programs == ["k3os config", "k3os config"]
    assert host.fragment.read_bytes() == before
    assert config_trial.taken_back()["request"] == "r2"
    _, told = host.apply(capsys, id="r3", config=SYSCTLS)
    assert told["state"] == "NoChange"


def test_arguments_with_which_k3s_does_not_come_back_are_taken_back(
    host, capsys, monkeypatch
) -> None:
    def restart(_: object) -> None:
        host.commands.append(["restart k3s"])
        if host.fragment.exists():
            raise UserError("k3s did not come back with the new configuration: it is not ready")

    monkeypatch.setattr(k3s_restart, "restart_for_configuration", restart)
    code, told = host.apply(capsys, config=ARGUMENTS)
    assert (code, told["state"]) == (1, names.FAILED)
    assert host.programs == ["k3os config", "restart k3s"] * 2
    assert not host.fragment.exists()


def test_a_configuration_that_wants_a_boot_is_on_trial_until_it_was_healthy(host, capsys) -> None:
    host.apply(capsys, config=BOOT_KEY, reboot=True)
    assert config_trial.is_on_trial()
    assert host.record.stat().st_mode & 0o777 == 0o600
    assert config_trial.attempt("") == 600
    host.boot("b2", on_trial=True)
    _, told = host.apply(capsys, config=BOOT_KEY, reboot=True)
    assert told["state"] == names.REBOOTING
    config_trial.confirm()
    host.boot("b2", on_trial=False)
    code, told = host.apply(capsys, config=BOOT_KEY, reboot=True)
    assert (code, told["state"]) == (0, "NoChange")
    assert host.known["state"] == names.SUCCEEDED


def test_what_was_taken_back_by_a_boot_is_told_and_not_tried_again(host, capsys) -> None:
    host.apply(capsys, config=BOOT_KEY, reboot=True)
    config_trial.fail("no interface has an address")
    assert config_trial.attempt("") == 0
    host.boot("b2", taken_back=TakenBack(config_trial.taken_back()))
    code, told = host.apply(capsys, config=BOOT_KEY, reboot=True)
    assert (code, told["state"]) == (1, names.ROLLED_BACK)
    assert told["message"] == "no interface has an address"
    assert host.programs == []
    assert not host.fragment.exists()


def test_a_full_disk_is_an_answer(host, capsys, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("k3os.system.files.atomic_write", full)
    monkeypatch.setattr(result, "atomic_write", full)
    code, told = host.apply(capsys, config=SYSCTLS)
    assert (code, told["state"]) == (1, names.FAILED)
    assert "No space left" in told["message"]


REBOOTING = {
    **result.record("r1", names.REBOOTING, "", "b1", {"k3os": "1.2.0"}),
    "when": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("running", "changes", "boot", "state"),
    [
        ("1.2.0", {}, "b2", names.SUCCEEDED),
        ("1.2.0", {}, "b1", names.REBOOTING),
        ("1.2.0", {"on_trial": True}, "b2", names.REBOOTING),
        (
            "1.1.0",
            {"rollback": Rollback({"when": "2026-01-02", "reason": "x"})},
            "b2",
            names.ROLLED_BACK,
        ),
        (
            "1.1.0",
            {"rollback": Rollback({"when": "2025-01-02", "reason": "old"})},
            "b2",
            names.FAILED,
        ),
        ("1.1.0", {}, "b2", names.FAILED),
    ],
)
def test_the_boot_completes_the_result(running, changes, boot, state) -> None:
    status = NodeStatus(versions={"running": {"k3os": running}}, **changes)
    assert result.completed(REBOOTING, status, boot)["state"] == state


def test_a_request_is_a_record() -> None:
    found = parse(request(k3os=RELEASE, config=SYSCTLS, reboot=True))
    assert found == NodeRequest("r1", Wanted(**RELEASE), None, SYSCTLS, True, False)
    assert json.loads(canonical(found.config)) == SYSCTLS


def test_the_error_of_the_upgrade_comes_as_a_value(host, capsys, tmp_path, monkeypatch) -> None:
    """No matter what else it printed; the error of an earlier upgrade does not count."""
    path = tmp_path / "error.json"
    monkeypatch.setenv(ERROR_FILE, str(path))

    def fails(_: list[str]) -> int:
        raise UserError("error: of its own", "do: this", "a: place")

    assert call("k3os", fails, []) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    error = handed_over(str(path))
    assert (error.message, error.hint, error.where) == ("error: of its own", "do: this", "a: place")
    path.unlink()
    assert handed_over(str(path)) is None
    Path(apply.UPGRADE_ERROR).write_text(json.dumps({"message": "of an earlier upgrade"}))
    host.run_now = killed_by_a_signal
    _, told = host.apply(capsys, k3os=RELEASE, reboot=True)
    assert told["state"] == names.FAILED
    assert "of an earlier upgrade" not in told["message"]


def killed_by_a_signal(argv: list[str], **_: Any) -> bytes:
    raise CommandError(argv, -9, b"error: half a li")


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("/a/config.yaml:3:1", "/a/config.yaml"),
        ("/a:b/config.yaml:13:21", "/a:b/config.yaml"),
        ("/a/config.yaml", "/a/config.yaml"),
        ("cmdline", "cmdline"),
        ("", ""),
        ("a:b:c", "a:b:c"),
        ("a:1", "a:1"),
    ],
)
def test_the_file_of_a_failure_is_known(place: str, source: str) -> None:
    assert ActionOutcome("k", "w", place, "failed", "r").source == source


def test_only_what_the_fragment_asked_for_fails_the_request(monkeypatch) -> None:
    """A message that only mentions the fragment's file is about something else."""
    action = {"key": "k", "what": f"look at {apply.FRAGMENT}", "result": "failed", "reason": "no"}

    def status(place: str) -> NodeStatus:
        phase = {"when": "", "seconds": 0, "actions": [{**action, "from": place}], "problems": []}
        return NodeStatus(phases_file={"phases": {"runtime": phase}})

    apply.check_applied(status("/var/lib/rancher/k3os/config.yaml:1:1"))
    with pytest.raises(UserError, match="k: look at"):
        apply.check_applied(status(f"{apply.FRAGMENT}:1:1"))
