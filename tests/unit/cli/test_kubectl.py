"""The plugin as it is called, with a stub of kubectl.

The stub answers each call for a path with the next entry of a list, and records its arguments.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.unit.cluster.objects import node, pool

SRC = str(Path(__file__).resolve().parents[3] / "src")
ENTRY = [sys.executable, "-c", "from k3os.cli.kubectl import entry; entry()"]
STUB = f"""#!{sys.executable} -SE
import json, os, sys, time
here = os.path.dirname(os.path.abspath(__file__))
with open(here + "/calls", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
kind = "nodes" if "/nodes" in " ".join(sys.argv) else "pools"
kind = "patch" if sys.argv[1] == "patch" else kind
script = json.load(open(here + "/script.json"))[kind]
with open(here + "/" + kind, "a") as file:
    file.write(".")
step = script[min(os.path.getsize(here + "/" + kind), len(script)) - 1]
sys.stderr.write(step.get("error", ""))
sys.stdout.write(step.get("text", ""))
if "list" in step:
    json.dump({{"metadata": {{"resourceVersion": "7"}}, "items": step["list"]}}, sys.stdout)
for pause, kind, body in step.get("events", []):
    time.sleep(pause)
    print(json.dumps({{"type": kind, "object": body}}), flush=True)
sys.stdout.flush()
time.sleep(step.get("stays", 0))
sys.exit(1 if "error" in step else 0)
"""
STAYS = {"stays": 60}
NOT_FOUND = {"error": "Error from server (NotFound): the server could not find it\n"}
REFUSED = {"error": "warning: x\nThe connection to the server a:6443 was refused\n"}


def stub_in(directory, program):
    """Replace kubectl with the stub. Returns a function that sets its answers."""
    stub = directory / "kubectl"
    stub.write_text(program)
    stub.chmod(0o755)

    def answers(**script):
        (directory / "script.json").write_text(json.dumps(script))
        return directory

    return answers


@pytest.fixture
def cluster(tmp_path):
    """A function that sets the stub's answers for nodes, pools and patches."""
    return stub_in(tmp_path, STUB)


def environment(directory, **more):
    path = f"{directory}:{os.environ['PATH']}"
    given = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return {**given, "PATH": path, "PYTHONPATH": SRC, "TERM": "xterm", **more}


def k3os(directory, *arguments, timeout=30):
    return subprocess.run(
        [*ENTRY, *arguments],
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def calls(directory):
    return [json.loads(line) for line in (directory / "calls").read_text().splitlines()]


def done(status="Updated"):
    return pool(status={"phase": status})


STEPS = [
    [0.3, "MODIFIED", node("a", state={"step": "Draining"})],
    [0.3, "MODIFIED", node("a", state={"step": "Waiting"}, ready=False)],
    [0.3, "MODIFIED", node("a", "v1.1.0")],
]


def rollout(last="Updated", **more):
    return {
        "nodes": [{"list": [node("a"), node("b", "v1.1.0")]}, {"events": STEPS, **STAYS}],
        "pools": [
            {"list": [pool()]},
            {"events": [[1.5, "MODIFIED", done(last)]], **STAYS},
        ],
    } | more


def test_on_a_pipe_each_change_is_a_line(cluster):
    directory = cluster(**rollout())
    result = k3os(directory, "rollout", "status", "workers", "--context", "prod", "-n", "x")
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout
    lines = [line.partition(" ")[2] for line in result.stdout.splitlines()]
    assert [line.split()[1] for line in lines if line.startswith("a: ")] == [
        *("Draining", "Waiting", "Updated")
    ]
    assert lines[-1] == "workers: Updated: 2 of 2 nodes are updated, 2 ready"
    asked = calls(directory)
    assert all({"--context=prod", "--namespace=x"} <= set(each) for each in asked)
    assert sum("watch=true&resourceVersion=7" in each[2] for each in asked) == 2


def test_a_failed_rollout_is_exit_code_1(cluster):
    result = k3os(cluster(**rollout("Failed")), "rollout", "status", "workers")
    assert result.returncode == 1
    assert "workers: Failed" in result.stdout


def test_the_timeout_is_exit_code_124(cluster):
    started = time.monotonic()
    still = {"nodes": [{"list": [node("a")]}, STAYS], "pools": [{"list": [pool()]}, STAYS]}
    result = k3os(cluster(**still), "rollout", "status", "workers", "--timeout", "2s")
    assert result.returncode == 124
    assert "not over after 2 s" in result.stderr
    assert 2 <= time.monotonic() - started < 10


@pytest.mark.parametrize(("phase", "code"), [("Updated", 0), ("Failed", 1), ("Paused", 3)])
def test_without_watching_the_exit_code_says_how_it_is(cluster, phase, code):
    directory = cluster(nodes=[{"list": [node("a")]}], pools=[{"list": [done(phase)]}])
    result = k3os(directory, "rollout", "status", "workers", "--watch=false")
    assert result.returncode == code
    assert "NodePool workers: " + phase in result.stdout
    assert not any("watch=true" in each[2] for each in calls(directory))


def test_a_watch_that_ends_while_the_server_restarts_is_begun_anew(cluster):
    script = rollout()
    again = {"list": [node("a", "v1.1.0")]}
    script["nodes"] = [{"list": [node("a")]}, {}, REFUSED, REFUSED, again, STAYS]
    script["pools"] = [{"list": [pool()]}, REFUSED, REFUSED, REFUSED, {"list": [done()]}, STAYS]
    result = k3os(cluster(**script), "rollout", "status", "workers")
    assert result.returncode == 0, result.stderr
    assert "a: Updated" in result.stdout
    refused, again = (
        result.stdout.index(text)
        for text in ("no answer: kubectl: The connection to", "the API answers again")
    )
    assert refused < again


def test_a_watch_that_is_too_old_is_begun_anew(cluster):
    script = rollout()
    script["pools"][1] = {"events": [[0.1, "ERROR", {"code": 410}]], **STAYS}
    script["pools"] += [{"list": [done()]}, STAYS]
    assert k3os(cluster(**script), "rollout", "status", "workers").returncode == 0


def test_a_pool_that_is_deleted_meanwhile_ends_it(cluster):
    script = rollout()
    script["pools"][1] = {"events": [[0.2, "DELETED", pool()]], **STAYS}
    result = k3os(cluster(**script), "rollout", "status", "workers")
    assert result.returncode == 1
    assert "there is no NodePool 'workers'; there is none at all" in result.stderr


def test_a_wrong_name_lists_the_right_ones(cluster):
    result = k3os(cluster(**rollout()), "rollout", "status", "wokers")
    assert result.returncode == 1
    assert "there is no NodePool 'wokers'; there are: workers" in result.stderr


def test_kubectls_own_words_reach_the_user(cluster):
    result = k3os(cluster(nodes=[REFUSED], pools=[REFUSED]), "rollout", "status", "workers")
    assert result.returncode == 1
    assert "The connection to the server a:6443 was refused" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("action", ["status", "pause"])
def test_a_cluster_without_the_operator_is_no_riddle(cluster, action):
    directory = cluster(nodes=[{"list": []}], pools=[NOT_FOUND], patch=[NOT_FOUND])
    result = k3os(directory, "rollout", action, "workers")
    assert result.returncode == 1
    assert "k3os: error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_it_needs_the_standard_library_alone(cluster):
    """A node has neither the operator nor its libraries."""
    config = {"k3os": {"sysctls": {"vm.swappiness": "1"}}}
    directory = cluster(nodes=[{"list": [node("a")]}], pools=[{"list": [pool(config=config)]}])
    code = f"import sys; sys.path.append({SRC!r}); from k3os.cli.kubectl import main\n"
    code += "main(['rollout', 'status', 'workers', '--watch=false']); main(['nodes'])\n"
    code += "print([each for each in sys.modules if each.startswith(('k3os.operator', 'yaml'))])"
    result = subprocess.run(
        [sys.executable, "-IS", "-c", code],
        env=environment(directory),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "k3OS v1.0.0 -> v1.1.0, configuration" in result.stdout
    assert result.stdout.endswith("\n[]\n")


def test_without_kubectl_it_says_so(tmp_path):
    result = subprocess.run(
        [*ENTRY, "nodes"],
        env={"PATH": str(tmp_path), "PYTHONPATH": SRC},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "there is no kubectl" in result.stderr


def test_nodes_are_listed_also_where_there_are_no_pools(cluster):
    result = k3os(cluster(nodes=[{"list": [node("b"), node("a")]}], pools=[NOT_FOUND]), "nodes")
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["NAME", "a", "b"]


def test_what_a_node_says_does_not_steer_the_terminal(cluster):
    evil = node("a", healthy="False")
    evil["status"]["conditions"][1]["message"] = "\x1b]0;owned\x07\x1b[2J"
    result = k3os(cluster(nodes=[{"list": [evil]}], pools=[{"list": []}]), "nodes")
    assert "owned" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(("action", "word"), [("pause", "true"), ("resume", "false")])
def test_pausing_changes_that_one_field(cluster, action, word):
    directory = cluster(patch=[{"text": "nodepool.k3os.io/workers patched\n"}])
    assert k3os(directory, "rollout", action, "nodepool/workers").returncode == 0
    (asked,) = calls(directory)
    assert asked[:3] == ["patch", "nodepools.k3os.io", "workers"]
    patch = next(each.partition("=")[2] for each in asked if each.startswith("--patch="))
    assert json.loads(patch) == {"spec": {"strategy": {"paused": word == "true"}}}


def test_gates_are_asked_again_when_somebody_says_so(cluster):
    failed = pool(status={"canary": {"phase": "RolledBack"}})
    directory = cluster(
        pools=[{"list": [failed]}], patch=[{"text": "nodepool.k3os.io/workers patched\n"}]
    )
    assert k3os(directory, "rollout", "retry", "workers").returncode == 0
    asked = calls(directory)[-1]
    patch = next(each.partition("=")[2] for each in asked if each.startswith("--patch="))
    (stamp,) = json.loads(patch)["metadata"]["annotations"].values()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp)


def test_a_retry_lets_sick_workloads_be(cluster):
    directory = cluster(
        pools=[{"list": [pool(status={"sickWorkloads": 2})]}],
        patch=[{"text": "nodepool.k3os.io/workers patched\n"}],
    )
    result = k3os(directory, "rollout", "retry", "workers")
    assert result.stdout == "workers: continues without 2 workloads that did not come back\n"
    assert any("k3os.io/retried-at" in each for each in calls(directory)[-1])


@pytest.mark.parametrize(
    ("status", "words"),
    [({}, "it has none"), ({"canary": {"phase": "Pausing"}}, "it is Pausing")],
)
def test_where_no_canary_has_failed_nobody_waits_for_a_retry(cluster, status, words):
    result = k3os(cluster(pools=[{"list": [pool(status=status)]}]), "rollout", "retry", "workers")
    assert result.returncode == 1
    assert words in result.stderr
    assert "kubectl annotate node NODE k3os.io/rollout-" in result.stderr


def test_pausing_twice_is_said(cluster):
    directory = cluster(patch=[{"text": "nodepool.k3os.io/workers patched (no change)\n"}])
    assert "already paused" in k3os(directory, "rollout", "pause", "workers").stdout


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["rollout"],
        ["rollout", "status"],
        ["rollout", "status", "a", "--timeout", "soon"],
        ["rollout", "status", "a", "--watch=perhaps"],
    ],
)
def test_wrong_usage_is_exit_code_2(cluster, wrong):
    result = k3os(cluster(), *wrong)
    assert (result.returncode, result.stdout) == (2, "")


class Terminal:
    """A terminal of this size, with what the plugin uses of one; rows: the screen's contents."""

    def __init__(self, directory, *arguments, columns=80, lines=12):
        self.rows, self.row, self.raw = [""], 0, ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            # tests that run in the background inherit an ignored SIGINT
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execvpe(ENTRY[0], [*ENTRY, *arguments], environment(directory))
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def run(self, until=None, timeout=30.0):
        """Run until it ends (returns its exit code) or a text appears (returns None)."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if not select.select([self.master], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self.master, 65536).decode()
            except OSError:
                data = ""
            if not data:
                os.close(self.master)
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.raw += data
            if until and until in self.raw:
                return None
        raise AssertionError(f"{until or 'its end'} did not come: {self.raw!r}")

    def screen(self):
        for text, count, what in re.findall(
            r"([^\x1b\r\n]+)|\x1b\[\??(\d*)[;\d]*([A-Za-z])|\n", self.raw
        ):
            if what == "A":
                self.row -= int(count)
                assert self.row >= 0, "above the top"
            elif what == "K":
                continue  # every line is written completely
            elif what == "J":
                del self.rows[self.row + 1 :]
            elif text:
                self.rows[self.row] = text
            elif not what:
                self.row += 1
                self.rows += [""] * (self.row + 1 - len(self.rows))
        return [row for row in self.rows if row]


def test_on_a_terminal_one_picture_is_drawn_over_and_over(cluster):
    terminal = Terminal(cluster(**rollout()), "rollout", "status", "workers")
    assert terminal.run() == 0
    assert terminal.raw.count("Draining") >= 1
    screen = terminal.screen()
    assert screen[0] == "NodePool workers: Updated, wanted: k3OS v1.1.0"
    assert screen[1].startswith("[" + "#" * 30 + "]  2 of 2 nodes are updated, 2 ready")
    assert [line.split()[:2] for line in screen[2:]] == [
        *(["NODE", "STEP"], ["a", "Updated"], ["b", "Updated"])
    ]
    assert terminal.raw.index("\x1b[?25l") < terminal.raw.rindex("\x1b[?25h")


def test_a_picture_fits_a_small_terminal(cluster):
    script = rollout()
    script["nodes"] = [{"list": [node(f"node-{number}") for number in range(50)]}, STAYS]
    terminal = Terminal(cluster(**script), "rollout", "status", "workers", columns=40, lines=10)
    assert terminal.run() == 0
    screen = terminal.screen()
    assert len(screen) < 10
    assert all(len(line) < 40 for line in screen)
    assert screen[-1].startswith("... and 46 more: 46 Pending")


def test_ctrl_c_gives_the_cursor_back_and_leaves_no_kubectl(cluster):
    script = rollout()
    script["pools"][1] = STAYS
    directory = cluster(**script)
    terminal = Terminal(directory, "rollout", "status", "workers")
    terminal.run(until="SINCE")
    os.write(terminal.master, b"\x03")
    assert terminal.run() == 130
    assert terminal.raw.rstrip().endswith("kubectl k3os: interrupted")
    assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")
    assert not running(str(directory))


def test_a_killed_plugin_gives_the_cursor_back(cluster):
    script = rollout()
    script["pools"][1] = STAYS
    directory = cluster(**script)
    terminal = Terminal(directory, "rollout", "status", "workers")
    terminal.run(until="SINCE")
    os.kill(terminal.pid, 15)
    assert terminal.run() == 143
    assert "\x1b[?25h" in terminal.raw
    assert not running(str(directory))


def running(directory):
    """The stub's processes in this directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{directory}/kubectl" in path.read_bytes().decode(errors="replace"):
                found.append(path)
        except OSError:
            continue
    return found


ODD = {"kind": "NodePool"} | pool(
    "odd", config={"hostname": "x\ud800"}, status={"phase": "Up\ud800"}
)
ODD_NODE = node("odd", notes={"k3os.io/else": "\ud800"}, healthy="False")
ODD_NODE["status"]["conditions"][1]["message"] = "half \udfff"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("nodes",), "odd"),
        (("rollout", "status", "odd", "--watch=false"), "odd"),
        (("diff", "-f", "x"), "odd"),
        (("history", "workers"), ""),
    ],
)
def test_a_half_of_a_character_in_one_object_costs_nobody_the_others(cluster, words, shown):
    pools = [{"list": [pool(), ODD]}]
    if words[0] == "diff":
        pools = [{"text": json.dumps(ODD)}, *pools]
    if words[0] == "history":
        pools = [{"text": json.dumps(ODD)}, {"list": []}]
    directory = cluster(nodes=[{"list": [node("a"), ODD_NODE]}], pools=pools)
    result = k3os(directory, *words)
    assert "Traceback" not in result.stderr
    assert "no JSON" not in result.stderr
    assert shown in result.stdout


def test_bytes_that_are_no_text_are_no_traceback(cluster):
    directory = cluster(nodes=[{"text": "\xff"}], pools=[{"list": []}])
    stub = directory / "kubectl"
    stub.write_text(
        stub.read_text().replace(
            'sys.stdout.write(step.get("text", ""))',
            'sys.stdout.buffer.write(step.get("text", "").encode("latin-1"))',
        )
    )
    result = k3os(directory, "nodes")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "answered no JSON" in result.stderr
