"""Commands on a node, with a stub of kubectl.

The stub stores the Job that it is given, answers from a script, and acts as the program in the pod.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import pytest

from k3os import names
from k3os.cli.kubectl_node import boots_as_one_word
from k3os.cluster import node_pod
from tests.unit.cli.test_kubectl import (
    ENTRY,
    REFUSED,
    Terminal,
    calls,
    environment,
    k3os,
    running,
    stub_in,
)
from tests.unit.cluster.objects import node

STUB = f"""#!{sys.executable} -SE
import json, os, sys, time
here = os.path.dirname(os.path.abspath(__file__))
words = sys.argv[1:]
with open(here + "/calls", "a") as file:
    file.write(json.dumps(words) + "\\n")
script = json.load(open(here + "/script.json"))
def has(word): return any(word in each for each in words)
kind = next((name for name, found in [
    *((verb, words[0] == verb) for verb in ("exec", "delete", "create")),
    ("events", has("/events")), ("pods", has("/pods")), ("nodes", has("/nodes"))] if found))
if kind == "create":
    body = json.load(sys.stdin)
    kind = "review" if body["kind"] == "SelfSubjectAccessReview" else kind
    with open(here + "/" + body["kind"] + ".json", "w") as file:
        json.dump(body, file)
with open(here + "/" + kind, "a") as file:
    file.write(".")
steps = script[kind]
step = steps[min(os.path.getsize(here + "/" + kind), len(steps)) - 1]
listed = kind != "nodes" or words[2].endswith("/nodes")
if "list" in step and listed:
    json.dump({{"items": step["list"]}}, sys.stdout)
elif "list" in step:
    one = [each for each in step["list"] if words[2].endswith("/" + each["metadata"]["name"])]
    if one: json.dump(one[0], sys.stdout)
    else: step = {{"error": 'Error from server (NotFound): nodes "x" not found\\n'}}
if has("--output=-"): sys.stdout.buffer.write(open(here + "/archive", "rb").read())
sys.stdout.write(step.get("text", ""))
sys.stderr.write(step.get("error", ""))
sys.stdout.flush()
time.sleep(step.get("stays", 0))
sys.exit(step.get("code", 1 if "error" in step else 0))
"""


def pod(**state):
    statuses = [{"state": state}] if state else []
    return {
        "metadata": {"name": "p-1"},
        "status": {"phase": "Pending", "containerStatuses": statuses},
    }


RUNNING = pod(running={})
OLD = pod(terminated={"message": "/usr/bin/python3: No module named k3os.operator.host"})


def event(reason, message, stamp="2025-01-01T00:00:00Z", kind="Warning"):
    return {
        "metadata": {"name": f"p-1.{reason}"},
        "type": kind,
        "reason": reason,
        "message": message,
        "lastTimestamp": stamp,
    }


@pytest.fixture
def cluster(tmp_path):
    """A function that sets the stub's answers that differ from those of a healthy cluster."""
    written = stub_in(tmp_path, STUB)

    def answers(**script):
        fine = {
            "nodes": [{"list": [node("node-1"), node("node-2")]}],
            "review": [{"text": json.dumps({"status": {"allowed": True}})}],
            "create": [{"text": "job.batch/x created\n"}],
            "pods": [{"list": []}, {"list": [pod()]}, {"list": [RUNNING]}],
            "events": [{"list": []}],
            "exec": [{"text": "fine\n"}],
            "delete": [{"text": ""}],
        }
        return written(**(fine | script))

    return answers


def started(directory):
    """The programs that were started on the node."""
    found = [each for each in calls(directory) if each[0] == "exec"]
    return [each[each.index("--") + 1 + len(node_pod.PROGRAM) :] for each in found]


def is_clean(directory):
    """Whether the Job that was made was deleted, and nothing else."""
    made = json.loads((directory / "Job.json").read_text())["metadata"]["name"]
    deleted = [each for each in calls(directory) if each[0] == "delete"]
    return [each[1:3] for each in deleted] == [["jobs.batch", made]]


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["status", "node-1"], ["k3os", "status"]),
        (["status", "node/node-1"], ["k3os", "status"]),
        (["config", "node-1"], ["k3os", "config", "--dump", "--provenance"]),
        (["logs", "node-1"], ["journalctl", "--no-pager", "--quiet", "--boot=0"]),
        (
            ["logs", "-u", "k3s", "-u", "sshd", "-n", "7", "-b", "node-1"],
            [
                *("journalctl", "--no-pager", "--quiet", "--unit=k3s", "--unit=sshd"),
                *("--lines=7", "--boot=0"),
            ],
        ),
        (
            ["logs", "node-1", "-b", "-1", "-f"],
            ["journalctl", "--no-pager", "--quiet", "--boot=-1", "--follow"],
        ),
        (
            ["logs", "node-1", "--since=-1h"],
            ["journalctl", "--no-pager", "--quiet", "--since=-1h"],
        ),
    ],
)
def test_a_command_runs_on_the_node_and_nothing_of_it_stays(cluster, words, program):
    directory = cluster()
    result = k3os(directory, *words, "--context", "prod")
    assert (result.returncode, result.stdout) == (0, "fine\n"), result.stderr
    assert started(directory) == [program]
    assert is_clean(directory)
    assert all("--context=prod" in each for each in calls(directory))


def test_the_job_is_bound_to_the_node_and_ends_by_itself(cluster):
    directory = cluster()
    assert k3os(directory, "status", "node-1").returncode == 0
    body = json.loads((directory / "Job.json").read_text())
    spec = body["spec"]["template"]["spec"]
    assert body["metadata"]["namespace"] == names.NAMESPACE
    assert 0 < body["spec"]["activeDeadlineSeconds"] <= 3600
    assert 0 < body["spec"]["ttlSecondsAfterFinished"] <= 300
    assert spec["nodeName"] == "node-1"
    (container,) = spec["containers"]
    assert container["image"] == node("x")["metadata"]["annotations"][names.IMAGE]
    assert container["imagePullPolicy"] == "Never"
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("code", [1, 2, 75, 137])
def test_the_exit_code_of_the_nodes_command_is_passed_on(cluster, code):
    said = f"key: wrong\ncommand terminated with exit code {code}\n"
    directory = cluster(exec=[{"text": "half\n", "error": said, "code": code}])
    result = k3os(directory, "config", "node-1")
    assert (result.returncode, result.stdout, result.stderr) == (code, "half\n", "key: wrong\n")
    assert is_clean(directory)


def test_warnings_of_a_command_that_succeeds_are_seen(cluster):
    directory = cluster(exec=[{"text": "a: b\n", "error": "key: odd\n", "code": 0}])
    result = k3os(directory, "config", "node-1")
    assert (result.returncode, result.stdout, result.stderr) == (0, "a: b\n", "key: odd\n")


def test_what_the_node_prints_does_not_steer_the_terminal(cluster):
    directory = cluster(exec=[{"text": "\x1b]0;owned\x07\ta\n", "error": "\x1b[2J\n", "code": 0}])
    result = k3os(directory, "logs", "node-1")
    assert "owned" in result.stdout
    assert "\ta" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr


OF_REGISTRY = {
    "metadata": {"name": "k3os-operator-1"},
    "spec": {
        "imagePullSecrets": [{"name": "registry"}],
        "containers": [
            {"name": "operator", "image": "r.example/op:1", "imagePullPolicy": "Always"}
        ],
    },
}


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ({names.IMAGE: ""}, ("r.example/op:1", "Always", [{"name": "registry"}])),
        ({}, (f"sha256:{'0' * 64}", "Never", None)),
    ],
)
def test_a_node_without_an_image_gets_that_of_an_operator_from_a_registry(cluster, notes, expected):
    directory = cluster(
        nodes=[{"list": [node("node-1", notes=notes)]}],
        pods=[{"list": [OF_REGISTRY]}, {"list": [RUNNING]}] if notes else [{"list": [RUNNING]}],
    )
    result = k3os(directory, "status", "node-1")
    assert (result.returncode, result.stdout) == (0, "fine\n"), result.stderr
    made = json.loads((directory / "Job.json").read_text())["spec"]["template"]["spec"]
    (container,) = made["containers"]
    found = (container["image"], container["imagePullPolicy"], made.get("imagePullSecrets"))
    assert found == expected
    assert is_clean(directory)


@pytest.mark.parametrize(
    ("script", "words", "made"),
    [
        ({"nodes": [{"list": [node("node-2"), node("zoo")]}]}, "did you mean node-2?", False),
        ({"nodes": [{"list": [node("zoo")]}]}, "there is no node 'node-1'; there are: zoo", False),
        (
            {"nodes": [{"list": [node("node-1", "")]}]},
            "node-1 has not reported that it runs k3OS",
            False,
        ),
        (
            {"nodes": [{"list": [node("node-1", notes={names.IMAGE: ""})]}]},
            "node-1 has no operator image",
            False,
        ),
        ({"nodes": [REFUSED]}, "The connection to the server a:6443 was refused", False),
        (
            {"review": [{"text": '{"status": {"allowed": false}}'}]},
            "you may not create pods/exec in the namespace k3os-system; the rights",
            False,
        ),
        (
            {
                "create": [
                    {
                        "error": 'Error from server (Forbidden): error when creating "STDIN": '
                        'jobs.batch is forbidden: User "jane" cannot create resource "jobs"\n'
                    }
                ]
            },
            'User "jane" cannot create resource "jobs"; the rights',
            False,
        ),
        (
            {"create": [{"error": 'Error from server (NotFound): namespaces "k" not found\n'}]},
            "no namespace k3os-system; is the operator installed?",
            False,
        ),
        (
            {"pods": [{"error": 'Error from server (Forbidden): pods is forbidden: User "j"\n'}]},
            'pods is forbidden: User "j"; the rights',
            True,
        ),
        (
            {"pods": [{"list": [pod(waiting={"reason": "ErrImageNeverPull", "message": "no x"})]}]},
            "the pod on node-1 cannot run: ErrImageNeverPull: no x; `kubectl describe node node-1`",
            True,
        ),
        (
            {
                "pods": [
                    {"list": [pod(terminated={"exitCode": 1, "message": "a\nOSError: full"})]}
                ],
                "events": [
                    {
                        "list": [
                            event("New", "n", "2025-02"),
                            event("Old", "o"),
                            event("F", "f", "9", ""),
                        ]
                    }
                ],
            },
            "the pod on node-1 cannot run: OSError: full; New: n;",
            True,
        ),
        (
            {
                "pods": [
                    {
                        "list": [
                            {
                                "metadata": {"name": "p-1"},
                                "status": {
                                    "phase": "Failed",
                                    "reason": "OutOfpods",
                                    "message": "m",
                                },
                            }
                        ]
                    }
                ]
            },
            "the pod on node-1 cannot run: OutOfpods: m",
            True,
        ),
        (
            {"pods": [{"list": [OLD]}]},
            "node-1 has k3OS v1.0.0, which is too old for this command; upgrade it",
            True,
        ),
        (
            {"exec": [{"error": "error: unable to upgrade connection: x\n"}]},
            "kubectl: error: unable to upgrade connection: x",
            True,
        ),
    ],
)
def test_what_went_wrong_is_one_line_and_nothing_stays(cluster, script, words, made):
    directory = cluster(**script)
    result = k3os(directory, "status", "node-1")
    assert result.returncode == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    if made:
        assert is_clean(directory)
    else:
        assert not any(each[0] in ("delete", "exec") for each in calls(directory))


@pytest.mark.parametrize(
    ("pods", "events", "words"),
    [
        (
            [pod(waiting={"reason": "ContainerCreating"})],
            [event("FailedMount", "no volume")],
            "does not run after 0 s: ContainerCreating; FailedMount: no volume;",
        ),
        ([pod()], [], "does not run after 0 s: the kubelet has not picked it up; `kubectl desc"),
        ([], [event("FailedCreate", "quota")], "does not run after 0 s: FailedCreate: quota;"),
        ([], [], "Kubernetes has not created one for the Job"),
    ],
)
def test_a_pod_that_does_not_start_in_time_says_what_it_waits_for(cluster, pods, events, words):
    directory = cluster(pods=[{"list": pods}], events=[{"list": events}])
    code = "from k3os.cluster import on_node; on_node.START_SECONDS = 0.3\n"
    code += "from k3os.cli.kubectl import entry; entry()"
    result = subprocess.run(
        [sys.executable, "-c", code, "status", "node-1"],
        env=environment(directory),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert words in result.stderr
    assert is_clean(directory)


def test_a_node_that_is_not_heard_of_is_refused_and_one_that_is_unwell_is_tried(cluster):
    gone = node("node-1", ready=False)
    gone["status"]["conditions"][0] |= {"status": "Unknown", "message": "stopped posting"}
    directory = cluster(nodes=[{"list": [gone]}])
    result = k3os(directory, "status", "node-1")
    assert result.returncode == 1
    assert "its kubelet has gone silent: stopped posting; no pod can start" in result.stderr
    unwell = node("node-1", ready=False)
    unwell["status"]["conditions"][0] |= {"message": "cni plugin not initialized"}
    result = k3os(cluster(nodes=[{"list": [unwell]}]), "status", "node-1")
    assert (result.returncode, result.stdout) == (0, "fine\n")
    assert "node-1 is not Ready: cni plugin not initialized" in result.stderr


@pytest.mark.parametrize("where", ["pods", "exec"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_the_plugin_the_job_goes_and_so_does_kubectl(cluster, where, number):
    waits = {"pods": [{"list": [], "stays": 60}], "exec": [{"text": "begun\n", "stays": 60}]}
    directory = cluster(**{where: waits[where]})
    process = subprocess.Popen(
        [*ENTRY, "logs", "node-1", "-f"],
        env=environment(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end = time.monotonic() + 20
    while not (directory / where).exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert is_clean(directory)
    assert not running(str(directory))


def test_a_job_that_cannot_be_deleted_is_named(cluster):
    result = k3os(cluster(delete=[REFUSED]), "status", "node-1")
    assert result.returncode == 0
    assert "stays: kubectl: The connection to the server" in result.stderr
    assert "it ends 600 s after its start, and is deleted then" in result.stderr


def test_a_shell_has_the_terminal(cluster):
    directory = cluster(exec=[{"text": "root@node-1:/# ", "code": 3}])
    terminal = Terminal(directory, "shell", "node-1")
    assert terminal.run() == 3
    assert "root@node-1" in terminal.raw
    assert started(directory) == [["bash", "-l"]]
    (asked,) = (each for each in calls(directory) if each[0] == "exec")
    assert "--tty" in asked
    assert is_clean(directory)


def test_a_shell_in_a_pipe_has_no_terminal(cluster):
    directory = cluster()
    assert k3os(directory, "shell", "node-1").returncode == 0
    (asked,) = (each for each in calls(directory) if each[0] == "exec")
    assert "--stdin" in asked
    assert "--tty" not in asked


def tarred(*entries):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, data, kind in entries:
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(data), kind
            tar.addfile(entry, io.BytesIO(data))
    return raw.getvalue()


def test_one_archive_has_the_files_of_all_nodes_and_nothing_odd(cluster):
    directory = cluster(exec=[{"text": ""}])
    (directory / "archive").write_bytes(
        tarred(
            ("node-1/status.txt", b"fine", tarfile.REGTYPE),
            ("../../etc/passwd", b"evil", tarfile.REGTYPE),
            ("node-1/link", b"", tarfile.SYMTYPE),
            ("node-1/.hidden", b"x", tarfile.REGTYPE),
        )
    )
    path = directory / "found.tar.gz"
    result = k3os(directory, "support", "node-1", "node-2", "-o", str(path))
    assert (result.returncode, result.stdout) == (0, f"{path}\n"), result.stderr
    assert started(directory) == 2 * [["k3os", "support", "--output=-"]]
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        found = {each.name: tar.extractfile(each).read() for each in tar}
    assert found == {
        f"k3os-support/{node}/{name}": text
        for node in ("node-1", "node-2")
        for name, text in (("status.txt", b"fine"), ("passwd", b"evil"))
    }


@pytest.mark.parametrize(
    ("sent", "script", "words"),
    [
        (b"\x1f\x8bno", {}, "what it sent is not an archive"),
        (
            b"",
            {"exec": [{"error": "k3os: error: x\ncommand terminated with exit code 1\n"}]},
            "it failed: k3os: error: x",
        ),
    ],
)
def test_a_node_that_gives_nothing_is_named_in_the_archive(cluster, sent, script, words):
    directory = cluster(**{"exec": [{"text": ""}], **script})
    (directory / "archive").write_bytes(sent)
    path = directory / "found.tar.gz"
    result = k3os(directory, "support", "node-1", "nod-2", "-o", str(path))
    assert result.returncode == 1
    assert words in result.stderr
    assert "nod-2: there is no node 'nod-2'; did you mean node-2?" in result.stderr
    with tarfile.open(path) as tar:
        found = {each.name: tar.extractfile(each).read().decode() for each in tar}
    assert found.keys() == {f"k3os-support/{each}/failed.txt" for each in ("node-1", "nod-2")}
    assert words in found["k3os-support/node-1/failed.txt"]


def test_an_archive_that_cannot_be_written_starts_nothing(cluster):
    directory = cluster()
    result = k3os(directory, "support", "node-1", "-o", "/no/such/place/x.tar.gz")
    assert result.returncode == 1
    assert "/no/such/place: cannot be written to" in result.stderr
    assert not (directory / "calls").exists()


@pytest.mark.parametrize(
    "wrong",
    [["status"], ["logs", "a", "-b", "x", "y"], ["logs", "a", "-n", "all"], ["config", "a", "b"]],
)
def test_wrong_usage_is_exit_code_2(cluster, wrong):
    assert k3os(cluster(), *wrong).returncode == 2


def test_a_boot_is_read_as_journalctl_reads_it():
    assert boots_as_one_word(["logs", "-b", "a"]) == ["logs", "--boot=0", "a"]
    assert boots_as_one_word(["logs", "a", "--boot"]) == ["logs", "a", "--boot=0"]
    assert boots_as_one_word(["-b", "-2", "a"]) == ["--boot=-2", "a"]


@pytest.fixture
def host(tmp_path):
    """A function that runs the program of the pod, as if it had entered the host."""
    code = "import os, sys\nfrom k3os.operator import host\n"
    code += "os.setns = lambda door: None\nos.chdir = lambda path: None\n"
    code += "enter = host.enter\nhost.enter = lambda: enter('/proc/self')\n"
    code += "sys.exit(host.main(sys.argv[1:]))"

    def call(*words):
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            env={**os.environ, "SECRET_OF_THE_IMAGE": "1", "TERM": "xterm"},
            capture_output=True,
            text=True,
        )

    return call


def test_the_program_in_the_pod_becomes_the_one_that_is_wanted(host):
    result = host("sh", "-c", "env; exit 7")
    assert result.returncode == 7
    found = dict(line.partition("=")[::2] for line in result.stdout.splitlines())
    assert found["PATH"].startswith("/usr/sbin:")
    assert (found["HOME"], found["TERM"]) == ("/root", "xterm")
    assert "SECRET_OF_THE_IMAGE" not in found


def test_a_program_that_the_host_does_not_have_is_named(host, tmp_path):
    result = host("no-such-program")
    assert (result.returncode, result.stdout) == (127, "")
    assert result.stderr.startswith("no-such-program cannot be started on this node: No such file")
    assert host(str(tmp_path)).returncode == 126


def test_the_program_in_the_pod_waits(host):
    began = time.monotonic()
    assert host("--wait", "1").returncode == 0
    assert time.monotonic() - began >= 1
