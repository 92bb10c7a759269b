"""What `k3os status` says about k3s, based on systemctl(1)."""

import json
import re
from pathlib import Path

import pytest

from k3os.cluster.readiness import FILE as READY
from k3os.node.status import collect, last_words
from k3os.node.status_text import failures, lines

FETCHES = "`journalctl -u k3os-k3s-fetch`"


def about_k3s(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    unit: str,
    state: str,
    *,
    there: bool = False,
    jobs: str = "",
    load: str = "loaded",
) -> tuple[list[str], list[str]]:
    """The line about k3s, and the failures. unit: the unit that the stub expects. there: whether
    the node has k3s. jobs: systemd's, each `unit state`."""
    if there:
        (root / "run/k3os").mkdir(parents=True)
        (root / "run/k3os/k3s").write_text("")
    active, sub, restarts = state.split()
    program = root / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
case "$1 $3" in
"show {unit}.service") printf 'LoadState={load}\\nActiveState={active}\\n'
    printf 'NRestarts={restarts}\\nSubState={sub}\\n' ;;
"list-jobs --no-legend") echo '{jobs}' | sed -n 's/ / start /; s/^..*/17 &/p' ;;
*) exit 1 ;;
esac
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    status = collect(str(root))
    return [line for line in lines(status) if line.startswith("k3s ")], [
        str(each) for each in failures(status)
    ]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("active running 0", "is running"),
        ("active running 7", "is running"),
        ("activating start 0", "is starting (activating, start): `journalctl -u k3s`"),
        ("inactive dead 0", "is not running (inactive, dead): `journalctl -u k3s`"),
    ],
)
def test_k3s_that_runs_or_starts_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, said: str
) -> None:
    assert about_k3s(tmp_path, monkeypatch, "k3s", state, there=True) == (
        [f"k3s        {said}"],
        [],
    )


FLANNEL = (
    'time="2026-11-26T23:50:01Z" level=fatal msg="flannel exited: failed to acquire lease: '
    'nodes \\"server\\" is forbidden: not yet ready to handle request"'
)
KINE = (
    'time="2026-11-26T23:50:01Z" level=fatal msg="starting kubernetes: creating storage endpoint: '
    'postgres://k3s:hunter2@db:5432/k3s: connection refused"'
)
BEFORE = 'time="2026-11-26T23:49:01Z" level=info msg="Starting k3s v1.22.3+k3s1 (94c1b988)"'


@pytest.mark.parametrize(
    ("log", "words"),
    [
        # as k3s 1.22.3 wrote it on a slow processor
        (
            [BEFORE, FLANNEL, "k3s.service: Main process exited, code=exited, status=1/FAILURE"],
            'flannel exited: failed to acquire lease: nodes "server" is forbidden: '
            "not yet ready to handle request",
        ),
        ([KINE.replace("postgres", "mysql"), FLANNEL, BEFORE], None),
        (
            [KINE],
            "starting kubernetes: creating storage endpoint: postgres://***@db:5432/k3s: "
            "connection refused",
        ),
        # credentials where the message is cut off
        (
            [f'level=fatal msg="{"x" * 280} https://user:hunter2@db"'],
            f"{'x' * 280} https://***@db",
        ),
        (["level=fatal msg=EOF"], "EOF"),
        (["panic: runtime error: index out of range", "goroutine 1 [running]:"], None),
        (['level=fatal msg="' + "x" * 5000 + '"'], "x" * 300),
        ([BEFORE], ""),
        ([], ""),
    ],
)
def test_why_k3s_ended_is_told_in_its_own_words(log: list[str], words: str | None) -> None:
    found = last_words("".join(f"{line}\n" for line in log))
    if words is None:
        assert found.startswith(("flannel exited", "panic: runtime error"))
    else:
        assert found == words


def test_the_status_of_a_k3s_that_fails_again_and_again_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "bin/journalctl"
    about_k3s(tmp_path, monkeypatch, "k3s", "activating auto-restart 4", there=True)
    journal.write_text(f"#!/bin/sh\ncat <<'END'\n{FLANNEL}\nEND\n")
    journal.chmod(0o755)
    shown = [line.strip() for line in lines(collect(str(tmp_path)))]
    assert any(line.startswith("it ended with: flannel exited: ") for line in shown)


ONLINE = "k3os-network-online.service"


@pytest.mark.parametrize(
    ("jobs", "waits_for"),
    [
        ([f"{ONLINE} running", "k3os-config.service waiting"], "an address on some network"),
        (["k3os-config.service running", "getty.target waiting"], "the configuration's runtime"),
        (["k3os-clock.service running"], "a time server"),
        (["k3os-k3s-fetch.service running"], "its download: `journalctl -u k3os-k3s-fetch`"),
        (["mine.service running", "its.socket running"], "mine.service, its.socket"),
        ([], "the boot"),
    ],
)
def test_before_its_turn_comes_it_is_said_what_the_boot_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: list[str], waits_for: str
) -> None:
    text = "\n".join([*jobs, "k3s.service waiting", "multi-user.target waiting"])
    (line,), failed = about_k3s(
        tmp_path, monkeypatch, "k3s", "inactive dead 0", there=True, jobs=text
    )
    begin = "k3s        has not been started yet: the boot waits for "
    assert line.startswith(begin + waits_for)
    assert failed == []


def test_a_download_that_has_not_begun_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = f"{ONLINE} running\nk3os-k3s-fetch.service waiting\nk3s.service waiting"
    (line,), _ = about_k3s(tmp_path, monkeypatch, "k3os-k3s-fetch", "inactive dead 0", jobs=jobs)
    begin = "is not there, and not fetched yet: the boot waits for an address"
    assert line.startswith(f"k3s        {begin}")


def test_where_k3s_is_masked_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = "inactive dead 0"
    (line,), failed = about_k3s(tmp_path, monkeypatch, "k3s", state, there=True, load="masked")
    assert line.startswith("k3s        is not started here: its unit is masked")
    assert failed == []


def test_k3s_that_ends_again_and_again_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = about_k3s(tmp_path, monkeypatch, "k3s", "activating auto-restart 4", there=True)
    said = "is not running (activating, auto-restart, restarts: 4): `journalctl -u k3s`"
    assert found == ([f"k3s        {said}"], [f"k3s: {said}"])


@pytest.mark.parametrize("restarts", [0, 3])
def test_where_there_is_no_k3s_its_download_is_what_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: int
) -> None:
    state = f"activating start {restarts}"
    said, failed = about_k3s(tmp_path, monkeypatch, "k3os-k3s-fetch", state)
    assert said[0].startswith("k3s        is not there, the node fetches it (activating, start")
    assert said[0].endswith(FETCHES)
    assert bool(failed) == bool(restarts)


def test_without_systemd_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert about_k3s(tmp_path, monkeypatch, "of-another-name", "a b 1") == ([], [])


def about_memory(root: Path, short: str = "") -> list[str]:
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(
        "MemTotal: 453632 kB\nMemAvailable: 102400 kB\nSwapTotal: 680960 kB\nSwapFree: 473088 kB\n"
    )
    (root / "run/k3os").mkdir(parents=True)
    (root / "run/k3os/memory-short").write_text(short)
    status = collect(str(root))
    assert failures(status) == []
    text = lines(status)
    start = next(i for i, line in enumerate(text) if line.startswith("memory "))
    end = next(i for i in range(start + 1, len(text)) if not text[i].startswith(" "))
    return text[start:end]


def test_memory_is_one_line(tmp_path: Path) -> None:
    assert about_memory(tmp_path) == [
        "memory     443 MiB, 100 MiB available; swap 665 MiB, 203 MiB used"
    ]


def test_memory_that_is_short_says_why_and_what_helps(tmp_path: Path) -> None:
    said = about_memory(tmp_path, "one reason\nanother\n")
    assert said[1:3] == ["           SHORT: one reason", "           SHORT: another"]
    assert said[3].startswith("           what helps: more memory; an agent")
    assert len(said) == 4


@pytest.mark.parametrize(
    ("unit", "status", "wanted"),
    [
        ("active running 0", "False", ["node       is not Ready since 2026-11-26: no network"]),
        ("active running 0", "True", []),
        ("activating start 0", "False", []),  # the status is from before k3s was restarted
    ],
)
def test_a_node_that_is_not_ready_says_since_when_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, status: str, wanted: list[str]
) -> None:
    about_k3s(tmp_path, monkeypatch, "k3s", unit, there=True)
    said = {"status": status, "since": "2026-11-26", "message": "no network"}
    (tmp_path / READY.lstrip("/")).write_text(json.dumps(said))
    found = lines(collect(str(tmp_path)))
    assert [line for line in found if line.startswith("node ")] == wanted


def about_disk(root: Path, short: str) -> tuple[list[str], list[str]]:
    (root / "var").mkdir()
    (root / "run/k3os").mkdir(parents=True)
    (root / "run/k3os/disk-short").write_text(short)
    status = collect(str(root))
    text = lines(status)
    start = next(i for i, line in enumerate(text) if line.startswith("/var "))
    end = next(i for i in range(start + 1, len(text)) if not text[i].startswith(" "))
    return text[start:end], [str(each) for each in failures(status)]


@pytest.mark.parametrize(("level", "counts"), [("low", False), ("full", True)])
def test_a_var_that_is_full_says_so_and_what_helps(
    tmp_path: Path, level: str, counts: bool
) -> None:
    said, failed = about_disk(tmp_path, f"{level}\n/var is so: 4 %\n")
    assert "MiB free" in said[0]
    assert said[1] == f"           {level.upper()}: /var is so: 4 %"
    assert "crictl rmi --prune" in said[2]
    assert failed == (["disk: /var is so: 4 %"] if counts else [])


def test_a_disk_with_errors_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "run/k3os").mkdir(parents=True)
    (tmp_path / "run/k3os/disk-errors").write_text("vda1 has met errors\n")
    (tmp_path / "var").mkdir()
    status = collect(str(tmp_path))
    assert [str(each) for each in failures(status)] == ["disk: vda1 has met errors"]
    assert "           ERRORS: vda1 has met errors" in lines(status)


def test_a_var_with_room_is_one_line(tmp_path: Path) -> None:
    said, failed = about_disk(tmp_path, "")
    assert (len(said), failed) == (1, [])


def test_what_k3s_got_is_shown_without_what_may_be_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "etc/rancher/k3s"
    (directory / "config.yaml.d").mkdir(parents=True)
    (directory / "config.yaml").write_text("token: abc\nnode-label: [a=b]\n")
    (directory / "config.yaml.d/zz-k3os.yaml").write_text("node-label+: [c=d]\nserver: https://x\n")
    monkeypatch.setenv("PATH", "/nowhere")
    status = collect(str(tmp_path))
    text = "\n".join(lines(status))
    assert "           node-label: a=b, c=d\n           server: https://x\n" in text
    assert "abc" not in text
    assert status.k3s_given == {
        "node-label": ["a=b", "c=d"],
        "server": ["https://x"],
        "token": [],
    }


def test_what_was_right_already_is_counted_and_listed_only_when_asked(tmp_path: Path) -> None:
    """In a second boot, most results are of this kind and would scroll the rest off the console."""
    what = {"key": "k", "from": "/a.yaml:1:1"}
    results = {
        "written": ("done", ""),
        "same": ("unchanged", ""),
        "same, but": ("unchanged", "why"),
        "not yet": ("later", ""),
    }
    actions = [{**what, "what": w, "result": r, "reason": n} for w, (r, n) in results.items()]
    given = {**what, "key": "k3os.data_sources", "what": "a gives b", "result": "unchanged"}
    actions.append({**given, "reason": ""})
    phase = {"when": "2026", "seconds": 1.0, "problems": []}
    phases = {"boot": {**phase, "actions": actions}, "initrd": {**phase, "actions": []}}
    (tmp_path / "run/k3os").mkdir(parents=True)
    recorded = {"version": 1, "mode": "disk", "phases": phases}
    (tmp_path / "run/k3os/status.json").write_text(json.dumps(recorded))
    status = collect(str(tmp_path))
    text = "\n".join(lines(status))
    assert "phase boot, 2026, 1.0 s: 1 done, 3 unchanged, 1 later" in text
    assert "phase initrd, 2026, 1.0 s: nothing to do" in text
    listed = re.findall(r"^  (\w+) +k: (.*)$", text, re.M)
    assert listed == [("done", "written"), ("unchanged", "same, but (why)"), ("later", "not yet")]
    assert "  unchanged k3os.data_sources: a gives b" in text
    assert "  unchanged k: same" in lines(status, every=True)


def test_a_node_without_an_address_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "address    none: `sudo k3os network show` says why"
    monkeypatch.setattr("k3os.node.status.addresses", list)
    assert said in lines(collect(str(tmp_path)))
    monkeypatch.setattr("k3os.node.status.addresses", lambda: ["eth0 10.0.2.15/24"])
    assert said not in lines(collect(str(tmp_path)))
