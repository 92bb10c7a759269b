"""Wherever a configuration has a secret, it only shows up where it has to be."""

from __future__ import annotations

import io
import json
import os
import stat
import string
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k3os.cli.main import main
from k3os.cluster.own_node import condition
from k3os.config.dump import dump_yaml
from k3os.config.load import load_config
from k3os.node.status import collect
from k3os.node.status_text import failures, lines
from k3os.phases.phase_report import PhaseReport

from .conftest import KEY, Machine

# no other text has four of these in a row, so parts of a secret are found, too
ALPHABET = "QXZJVWqxzjvw"
SPECIAL = "-_.~!$%&'*+,;=:@/\\\"#? ()[]{}<>|^`"
PART = 5


def q(text: str) -> str:
    return json.dumps(text)


# where a secret may be: a name, and a configuration around it
PLACES: dict[str, Callable[[str], str]] = {
    "token": lambda s: f"k3os: {{token: {q(s)}}}",
    "token in a list": lambda s: f"k3os: {{token: [{q(s)}]}}",
    "token in a map": lambda s: f"k3os: {{token: {{a: {q(s)}}}}}",
    "misspelt token": lambda s: f"k3os: {{tokn: {q(s)}}}",
    "password": lambda s: f"k3os: {{password: {q(s)}}}",
    "password in a list": lambda s: f"k3os: {{password: [{q(s)}]}}",
    "password in a scheme": lambda s: f"k3os: {{password: {q('$6$' + s)}}}",
    "wifi": lambda s: f"k3os: {{wifi: [{{name: home, passphrase: {q(s)}}}]}}",
    "wifi in a list": lambda s: f"k3os: {{wifi: [{{name: home, passphrase: [{q(s)}]}}]}}",
    "wifi, other key": lambda s: f"k3os: {{wifi: [{{name: home, passwort: {q(s)}}}]}}",
    "variable": lambda s: f"k3os: {{environment: {{APP_PASSWORD: {q(s)}}}}}",
    "variable with a wrong name": lambda s: f"k3os: {{environment: {{'A-B': {q(s)}}}}}",
    "proxy": lambda s: f"k3os: {{environment: {{https_proxy: {q(f'http://u:{s}@p.example:1')}}}}}",
    "args": lambda s: f"k3os: {{k3s_args: [server, {q(f'--token={s}')}]}}",
    "args, two words": lambda s: f"k3os: {{k3s_args: [server, --agent-token, {q(s)}]}}",
    "args, short": lambda s: f"k3os: {{k3s_args: [agent, -t, {q(s)}]}}",
    "args, one text": lambda s: f"k3os: {{k3s_args: {q(f'server --token={s}')}}}",
    "args, a word": lambda s: f"k3os: {{k3s_args: [server, {q(f'--token {s}')}]}}",
    "args, misspelt": lambda s: f"k3os: {{k3s_args: [server, {q(f'--tokem={s}')}]}}",
    "datastore": lambda s: (
        "k3os: {k3s_args: [server, "
        + q(f"--datastore-endpoint=mysql://k3s:{s}@tcp(db.example:3306)/k3s")
        + "]}"
    ),
    "datastore of an agent": lambda s: (
        "k3os: {k3s_args: [agent, --datastore-endpoint, "
        + q(f"postgres://k3s:{s}@db.example/k3s")
        + "]}"
    ),
    "args, proxy of snapshots": lambda s: (
        f"k3os: {{k3s_args: [server, {q(f'--etcd-s3-proxy=http://u:{s}@p.example')}]}}"
    ),
    "server": lambda s: f"k3os: {{server_url: {q(f'https://u:{s}@10.0.0.1:6443')}}}",
    "config_url": lambda s: (
        f"k3os: {{install: {{device: /dev/sda, config_url: {q(f'https://u:{s}@127.0.0.1:9/c')}}}}}"
    ),
    "iso_url": lambda s: (
        f"k3os: {{install: {{device: /dev/sda, iso_url: {q(f'https://u:{s}@127.0.0.1:9/i')}}}}}"
    ),
    "keys": lambda s: f"ssh_authorized_keys: [{q(f'http://u:{s}@127.0.0.1:9/keys')}, {q(KEY)}]",
    "command": lambda s: f"run_cmd: [{q(f'K3S_TOKEN={s} curl -s https://10.0.0.1')}]",
    "boot command": lambda s: f"boot_cmd: [{q(f'PW={s};export PW;true')}]",
    "command with an address": lambda s: f"run_cmd: [{q(f'curl http://u:{s}@h.example/x')}]",
    "command, a list": lambda s: f"run_cmd: [[/bin/false, {q(s)}]]",
    "command, quoted": lambda s: f"""init_cmd: [{q(f"TOKEN='{s} a' curl")}]""",
    "file": lambda s: f"write_files: [{{path: /root/f, permissions: '0600', content: {q(s)}}}]",
    "file with wrong encoding": lambda s: (
        f"write_files: [{{path: /root/f, permissions: '0600', encoding: b64, content: {q(s)}}}]"
    ),
    "file of k3s": lambda s: (
        f"write_files: [{{path: /etc/rancher/k3s/config.yaml, content: {q(f'token: {s}')}}}]"
    ),
    "file of logins": lambda s: (
        "write_files: [{path: /etc/environment, permissions: '0600', content: "
        + q(f"K3S_TOKEN={s}")
        + "}]"
    ),
    "half a file": lambda s: f"k3os:\n  token: {q(s)[:-1]}\nhostname: a\n",
    "no yaml": lambda s: f"k3os: {{token: {q(s)}",
}


def secret() -> st.SearchStrategy[str]:
    """A secret like those people make up: letters and digits, sometimes with special characters."""
    part = st.text(ALPHABET, min_size=PART + 1, max_size=9)
    return st.lists(part, min_size=2, max_size=3).flatmap(
        lambda parts: st.sampled_from(["7", *SPECIAL]).map(lambda between: between.join(parts))
    )


def parts_of(text: str) -> set[str]:
    """The pieces of a secret that would give it away."""
    runs = "".join(c if c in ALPHABET else " " for c in text).split()
    return {
        run[start : start + PART] for run in runs for start in range(max(1, len(run) - PART + 1))
    }


def leaks(text: str, secret: str) -> set[str]:
    return {part for part in parts_of(secret) if part in text}


def readable_by_all(root: Path) -> Iterator[tuple[str, str]]:
    for directory, names, files in os.walk(root):
        names[:] = [
            name for name in names if stat.S_IMODE(os.lstat(f"{directory}/{name}").st_mode) & 0o001
        ]
        for name in files:
            path = Path(directory, name)
            if path.is_symlink() or not path.stat().st_mode & 0o004:
                continue
            yield str(path.relative_to(root)), path.read_text(errors="replace")


def told(reports: list[PhaseReport]) -> list[str]:
    found = []
    for report in reports:
        found += [*map(json.dumps, report.as_dict()["actions"]), *report.lines()]  # type: ignore[call-overload]
    return found


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads fail at once; the messages about that are checked, too."""
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.mark.parametrize("place", PLACES)
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(secret())
def test_a_secret_is_seen_nowhere_but_where_it_must(place: str, secret: str) -> None:
    text = PLACES[place](secret)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o755)
        machine = Machine(root)
        machine.put("k3os/system/config.yaml", text)
        (root / "k3os/system/config.yaml").chmod(0o600)
        said: list[str] = []
        reports = []
        output = io.StringIO()
        with redirect_stdout(output), redirect_stderr(output):
            for phase in ("initrd", "boot", "runtime", "ready"):
                reports.append(machine.apply(phase, say=said.append))
            main(["config", "check", str(root / "k3os/system/config.yaml")])
            main(["config", "check", "--format", "json", str(root / "k3os/system/config.yaml")])
            if "command" not in place:  # a dump shows commands, to people who may read them
                print(dump_yaml(load_config(str(root), cmdline="")[0]))
            status = collect(str(root), system="/k3os/system")
            print("\n".join(lines(status)), json.dumps(status.as_dict()))
            print(condition(status, failures(status), "now", {}))
        _, problems = load_config(str(root), cmdline="")
        shown = [*told(reports), *said, *output.getvalue().splitlines()]
        shown += [f"{problem} {json.dumps(problem.as_dict())}" for problem in problems]
        assert not [line for line in shown if leaks(line, secret)]
        for name, content in readable_by_all(root):
            assert not leaks(content, secret), name
        status = machine.text("run/k3os/status.json")
        assert not leaks(status, secret)


def test_a_part_of_a_secret_is_found() -> None:
    assert leaks("ends in ***zJXQZ", "QXZJ-qxzJXQZ")
    assert not leaks(string.ascii_letters, "QXZJQX-qxzjq")
