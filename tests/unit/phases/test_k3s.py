"""What k3s is started with: input → exact files and argv."""

import shlex

import pytest
import yaml

from k3os import __version__
from k3os.k3s.given import given, shown

from .conftest import Machine

BESIDE = "etc/rancher/k3s/config.yaml.d"
LABELS = ["k3os.io/mode=live", f"k3os.io/version={__version__}"]


def argv(machine: Machine) -> list[str]:
    """K3S_ARGS as systemd reads it: EnvironmentFile=, then the words of `$K3S_ARGS`."""
    name, _, value = machine.text("run/k3os/k3s.args").rstrip("\n").partition("=")
    assert name == "K3S_ARGS"
    assert value[0] == value[-1] == '"'
    text, rest = "", list(value[1:-1])
    while rest:
        character = rest.pop(0)
        text += rest.pop(0) if character == "\\" and rest[0] in '"\\$`' else character
    words, word, quoted, started = [], "", False, False
    rest = list(text)
    while rest:
        character = rest.pop(0)
        if character == "\\":
            word, started = word + rest.pop(0), True
        elif character == "'":
            quoted, started = not quoted, True
        elif character == " " and not quoted:
            words += [word] if started else []
            word, started = "", False
        else:
            word, started = word + character, True
    return words + ([word] if started else [])


@pytest.mark.parametrize(
    ("config", "args", "settings"),
    [
        ("{}", ["server"], {"node-label": LABELS, "write-kubeconfig-mode": "0640"}),
        (
            "{server_url: 'https://s:6443', token: K10abc::server:x}",
            ["agent"],
            {"server": "https://s:6443", "token": "K10abc::server:x", "node-label": LABELS},
        ),
        (
            "{server_url: 'https://s:6443', k3s_args: [server, --cluster-init]}",
            ["server", "--cluster-init"],
            {
                "server": "https://s:6443",
                "node-label": LABELS,
                "write-kubeconfig-mode": "0640",
            },
        ),
        (
            "{k3s_args: ['--disable=traefik', '--flag', 'a b', \"it's\", 'b\\c', '$x', '']}",
            ["server", "--disable=traefik", "--flag", "a b", "it's", "b\\c", "$x"],
            {"node-label": LABELS, "write-kubeconfig-mode": "0640"},
        ),
        (
            "{labels: {a: yes, b: 1.10}, taints: [k=v:NoSchedule, 'x:NoExecute']}",
            ["server"],
            {
                "node-label": [*LABELS, "a=yes", "b=1.10"],
                "node-taint": ["k=v:NoSchedule", "x:NoExecute"],
                "write-kubeconfig-mode": "0640",
            },
        ),
        (
            "{token: 'with \"quotes\" and: 0644'}",
            ["server"],
            {
                "token": 'with "quotes" and: 0644',
                "node-label": LABELS,
                "write-kubeconfig-mode": "0640",
            },
        ),
    ],
)
def test_the_keys_become_exactly_these_arguments_and_settings(
    machine: Machine, config: str, args: list[str], settings: dict[str, object]
) -> None:
    report = machine.apply("boot", f"k3os: {config}\n")
    assert not report.failed, report.lines()
    assert argv(machine) == args
    assert yaml.safe_load(machine.text("etc/rancher/k3s/config.yaml")) == settings
    assert machine.mode("etc/rancher/k3s/config.yaml") == 0o600
    assert machine.mode("run/k3os/k3s.args") == 0o600


def test_simple_arguments_look_as_a_person_would_write_them(machine: Machine) -> None:
    machine.apply("boot", "k3os: {k3s_args: [server, --disable=traefik]}\n")
    text = machine.text("run/k3os/k3s.args")
    assert shlex.split(text) == ["K3S_ARGS=server --disable=traefik"]


def test_the_node_name_is_pinned_when_k3s_is_about_to_register(machine: Machine) -> None:
    machine.apply("boot", "hostname: First\n")
    assert "node-name" not in machine.text("etc/rancher/k3s/config.yaml")
    machine.apply("runtime")
    machine.apply("boot", "hostname: second\n")
    machine.apply("runtime")
    assert yaml.safe_load(machine.text("etc/rancher/k3s/config.yaml"))["node-name"] == "first"


def test_a_configuration_of_k3s_by_the_user_stays_and_ours_goes_beside_it(
    machine: Machine,
) -> None:
    machine.apply(
        "boot",
        "write_files: [{path: /etc/rancher/k3s/config.yaml, content: 'disable: traefik'}]\n"
        "k3os: {token: x}\n",
    )
    assert machine.text("etc/rancher/k3s/config.yaml") == "disable: traefik"
    beside = yaml.safe_load(machine.text(f"{BESIDE}/50-k3os.yaml"))
    assert beside == {"token": "x"}
    assert yaml.safe_load(machine.text(f"{BESIDE}/zz-k3os.yaml")) == {"node-label+": LABELS}


@pytest.mark.parametrize(
    "path", ["config.yaml", "config.yaml.d/10-mine.yaml", "config.yaml.d/99-mine.yml"]
)
def test_lists_of_the_users_and_ours_add_up(machine: Machine, path: str) -> None:
    content = "{node-label: [a=b], node-taint: [c=d:NoSchedule]}"
    machine.apply(
        "boot",
        f"write_files: [{{path: /etc/rancher/k3s/{path}, content: '{content}'}}]\n"
        "k3os: {labels: {region: attic}, taints: [e=f:NoExecute]}\n",
    )
    assert given(str(machine.root)) == {
        "node-label": ["a=b", *LABELS, "region=attic"],
        "node-taint": ["c=d:NoSchedule", "e=f:NoExecute"],
        **({"write-kubeconfig-mode": ["0640"]} if path != "config.yaml" else {}),
    }


def test_of_what_k3s_got_nothing_is_shown_that_may_be_a_secret(machine: Machine) -> None:
    machine.put("etc/rancher/k3s/config.yaml", "token: abc\nserver: https://x\ndisable: [a]\n")
    settings = shown(given(str(machine.root)))
    assert settings == {"disable": [], "server": ["https://x"], "token": []}


def test_our_lists_go_back_when_the_users_file_has_left_the_configuration(
    machine: Machine,
) -> None:
    path = "/etc/rancher/k3s/config.yaml.d/10-mine.yaml"
    machine.apply("boot", f"write_files: [{{path: {path}, content: 'disable: [traefik]'}}]\n")
    machine.apply("runtime", "{}")
    assert not (machine.root / f"{BESIDE}/zz-k3os.yaml").exists()
    assert yaml.safe_load(machine.text("etc/rancher/k3s/config.yaml"))["node-label"] == LABELS


@pytest.mark.parametrize(
    ("controllers", "said"),
    [
        ("cpuset cpu io memory hugetlb pids rdma misc\n", ""),
        ("", ""),
        ("cpuset cpu io pids\n", "no control group for: memory; k3s does not start; add cgroup_en"),
        ("cpu memory\n", "no control group for: cpuset, pids; k3s does not start; start a kernel"),
    ],
)
def test_a_kernel_that_k3s_cannot_use_is_reported_with_what_to_do(
    machine: Machine, controllers: str, said: str
) -> None:
    machine.put("sys/fs/cgroup/cgroup.controllers", controllers)
    report = machine.apply("runtime", "{}")
    assert [said in line for line in report.lines()] == [True] * bool(said)
    assert not machine.apply("boot", "{}").failed
