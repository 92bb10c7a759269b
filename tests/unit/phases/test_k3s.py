"""How k3s is started: input → exact files and argv."""

import shlex

import pytest
import yaml

from k3os import __version__
from k3os.config.check import check_data, check_text
from k3os.config.load import load_config
from k3os.k3s.given import given, shown
from k3os.k3s.settings import of_arguments
from k3os.node.cluster_report import node_name

from .conftest import Machine

TOKEN = {"token-file": "/run/k3os/k3s.token"}
BESIDE = "etc/rancher/k3s/config.yaml.d"
LABELS = ["k3os.io/mode=live", f"k3os.io/version={__version__}"]


def argv(machine: Machine) -> list[str]:
    """K3S_ARGS as systemd reads it: EnvironmentFile=, then the words of `$K3S_ARGS`."""
    first = machine.text("run/k3os/k3s.args").splitlines()[0]
    name, _, value = first.partition("=")
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
        ("{}", ["server"], {"node-label": LABELS}),
        (
            "{server_url: 'https://s:6443', token: K10abc::server:x}",
            ["agent"],
            {"server": "https://s:6443", "node-label": LABELS, **TOKEN},
        ),
        (
            "{server_url: 'https://s:6443', k3s_args: [server, --cluster-init]}",
            ["server", "--cluster-init"],
            {
                "server": "https://s:6443",
                "node-label": LABELS,
            },
        ),
        (
            "{k3s_args: ['--disable=traefik', '--flag', 'a b', \"it's\", 'b\\c', '$x', '']}",
            ["server", "--disable=traefik", "--flag", "a b", "it's", "b\\c", "$x"],
            {"node-label": LABELS},
        ),
        (
            "{labels: {a: yes, b: 1.10}, taints: [k=v:NoSchedule, 'x:NoExecute']}",
            ["server"],
            {
                "node-label": [*LABELS, "a=yes", "b=1.10"],
                "node-taint": ["k=v:NoSchedule", "x:NoExecute"],
            },
        ),
        (
            "{token: 'with \"quotes\" and: 0644'}",
            ["server"],
            {"node-label": LABELS, **TOKEN},
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
    assert machine.mode("etc/rancher/k3s/config.yaml") == 0o644
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
    assert beside == TOKEN
    assert yaml.safe_load(machine.text(f"{BESIDE}/zz-k3os.yaml")) == {"node-label+": LABELS}
    assert machine.mode(f"{BESIDE}/50-k3os.yaml") == 0o644
    assert machine.mode("etc/rancher/k3s/config.yaml") == 0o644


def files(machine: Machine) -> dict[str, tuple[int, str]]:
    """Path -> mode and contents of all files for k3s."""
    found = [*machine.root.glob("etc/rancher/**/*"), *machine.root.glob("run/k3os/*")]
    return {
        str(each.relative_to(machine.root)): (each.stat().st_mode & 0o777, each.read_text())
        for each in found
        if each.is_file()
    }


SECRET = 's3cret $x "q"'
SECRETS = [
    ("token", "run/k3os/k3s.token", f"{SECRET}\n"),
    ("t", "run/k3os/k3s.token", f"{SECRET}\n"),
    ("agent-token", "run/k3os/k3s.agent-token", f"{SECRET}\n"),
    ("vpn-auth", "run/k3os/k3s.vpn-auth", f"{SECRET}\n"),
    *(
        (flag, "run/k3os/k3s.args", f'{variable}="s3cret \\$x \\"q\\""\n')
        for flag, variable in [
            ("datastore-endpoint", "K3S_DATASTORE_ENDPOINT"),
            ("etcd-s3-access-key", "AWS_ACCESS_KEY_ID"),
            ("etcd-s3-secret-key", "AWS_SECRET_ACCESS_KEY"),
            ("etcd-s3-session-token", "AWS_SESSION_TOKEN"),
        ]
    ),
]


@pytest.mark.parametrize("form", ["--{}={}", "--{} {}", "--{}\n{}", "-{}={}"])
@pytest.mark.parametrize(("flag", "path", "written"), SECRETS)
def test_a_secret_among_the_arguments_is_in_no_argument_and_in_no_file_that_others_may_read(
    machine: Machine, flag: str, path: str, written: str, form: str
) -> None:
    words = ["server", *form.format(flag, SECRET).split("\n"), "--disable=traefik"]
    report = machine.apply("boot", yaml.safe_dump({"k3os": {"k3s_args": words}}))
    assert argv(machine) == ["server", "--disable=traefik"]
    found = files(machine)
    assert {name for name, (_, text) in found.items() if "s3cret" in text} == {path}
    mode, text = found[path]
    assert (mode, written in text) == (0o600, True)
    named = f"{flag}-file" if flag != "t" else "token-file"
    settings = yaml.safe_load(found["etc/rancher/k3s/config.yaml"][1])
    assert settings.get(named) == (
        f"/{path}" if path.endswith(named.removesuffix("-file")) else None
    )
    assert "s3cret" not in str(report.as_dict())


def test_arguments_are_stronger_than_the_token_of_the_configuration(machine: Machine) -> None:
    machine.apply("boot", "k3os: {token: weak, k3s_args: [server, --token=strong]}\n")
    assert machine.text("run/k3os/k3s.token") == "strong\n"


def test_an_agent_is_not_given_a_file_with_a_servers_flag(machine: Machine) -> None:
    """It would exit with "flag provided but not defined"."""
    machine.apply("boot", "k3os: {token: x, k3s_args: [agent, --agent-token=y]}\n")
    settings = yaml.safe_load(machine.text("etc/rancher/k3s/config.yaml"))
    assert settings == {"node-label": LABELS, **TOKEN}
    assert 'K3S_AGENT_TOKEN="y"' in machine.text("run/k3os/k3s.args")


def test_a_secret_that_left_the_configuration_leaves_the_node(machine: Machine) -> None:
    machine.apply("boot", "k3os: {token: x}\n")
    machine.apply("runtime", "k3os: {k3s_args: [server]}\n")
    assert not (machine.root / "run/k3os/k3s.token").exists()
    assert "token" not in machine.text("etc/rancher/k3s/config.yaml")


@pytest.mark.parametrize(
    ("content", "asked", "mode"),
    [
        ("token: s3cret\n", "0644", 0o600),
        ("disable: traefik\n'agent-token' : x\n", "0664", 0o600),
        ('{"etcd-s3-secret-key": "x"}', "0640", 0o600),
        ("t: s3cret\n", "0644", 0o600),
        ("etcd-s3-proxy: http://me:s3cret@proxy:3128\n", "0644", 0o600),
        ("server: https://first:6443\nlabels: [at@home]\n", "0644", 0o644),
        ("token: s3cret\n", "0400", 0o400),
        ("disable: traefik\ntoken-file: /x\n", "0644", 0o644),
        ("disable: traefik\n", "0600", 0o600),
    ],
)
@pytest.mark.parametrize("name", ["config.yaml", "config.yaml.d/mine.yaml"])
def test_a_users_configuration_of_k3s_with_a_secret_is_closed_to_others(
    machine: Machine, name: str, content: str, asked: str, mode: int
) -> None:
    path = f"/etc/rancher/k3s/{name}"
    entry = {"path": path, "content": content, "permissions": asked}
    machine.apply("boot", yaml.safe_dump({"write_files": [entry]}))
    assert machine.text(path[1:]) == content
    assert machine.mode(path[1:]) == mode


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("{}", None),
        ("{server_url: 'https://s:6443'}", "first"),
        ("{server_url: 'https://s:6443', k3s_args: [server]}", "first"),
        ("{k3s_args: [agent, '--server=https://s:6443', --node-name=other]}", "other"),
        ("{k3s_args: [server, --server, 'https://s:6443', --node-name, other]}", "other"),
        ("{k3s_args: [server, -s, 'https://s:6443', --node-name=other]}", "other"),
        ("{environment: {K3S_URL: 'https://s:6443'}}", "first"),
        ("{k3s_args: [server, --cluster-init]}", None),
    ],
)
def test_only_a_node_that_joins_others_is_watched_while_it_does(
    machine: Machine, config: str, name: str | None
) -> None:
    machine.put("run/k3os/joins", "from before\n")
    machine.apply("runtime", f"hostname: First\nk3os: {config}\n")
    if name is None:
        assert not (machine.root / "run/k3os/joins").exists()
    else:
        assert machine.text("run/k3os/joins") == f"{name}\n"


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


def named_by_file(name: str, path: str = "config.yaml") -> str:
    return f"write_files: [{{path: /etc/rancher/k3s/{path}, content: 'node-name: {name}'}}]\n"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("k3os: {k3s_args: [--node-name=Worker-1]}\n", ""),
        (named_by_file("Worker-1"), "Worker-1"),
        (named_by_file("Worker-1", "config.yaml.d/10-mine.yaml"), "Worker-1"),
        (named_by_file("Worker-1", "config.yaml.d/99-mine.yml"), "Worker-1"),
        ("k3os: {environment: {K3S_NODE_NAME: Worker-1}}\n", ""),
    ],
)
def test_a_name_that_the_user_gives_k3s_is_not_replaced_by_the_hosts(
    machine: Machine, config: str, name: str
) -> None:
    assert machine.apply("runtime", f"hostname: host\n{config}").is_fine
    assert given(str(machine.root)).get("node-name", [""]) == [name]
    assert not (machine.root / "var/lib/rancher/k3os/node-name").exists()
    loaded, _ = load_config(str(machine.root), cmdline="")
    assert node_name(loaded) == "worker-1", "as k3s registers it"


@pytest.mark.parametrize(
    "config",
    [
        "k3os: {k3s_args: [--node-name=Rack_1]}\n",
        "k3os: {k3s_args: [--node-name, -rack-]}\n",
        named_by_file("Rack_1"),
        "k3os: {environment: {K3S_NODE_NAME: localhost_}}\n",
    ],
)
def test_a_name_that_kubernetes_never_takes_is_said_before_and_on_the_node(
    machine: Machine, config: str
) -> None:
    """The unit would stay in "activating" forever."""
    (line,) = machine.apply("runtime", f"hostname: host\n{config}").lines()
    assert "is not a valid node name; use letters, digits, `-` and `.`" in line
    _, problems = check_text(config.encode(), "c")
    assert not problems
    (problem,) = [each for each in check_data(config.encode(), "c") if "node" in each.message]
    assert problem.is_error
    assert "is not a valid node name" in problem.message


# sources of one taint -> the values that k3s may get, in all files and arguments. The API server
# refuses nodes with two taints of the same key and effect, so they would never register.
TAINTS = {
    "the same twice": ("k3os: {taints: ['a=b:NoSchedule', 'a=b:NoSchedule']}", ["a=b:NoSchedule"]),
    "two values": ("k3os: {taints: ['a=b:NoSchedule', 'a=c:NoSchedule']}", ["a=c:NoSchedule"]),
    "two effects": (
        "k3os: {taints: ['a=b:NoSchedule', 'a=b:NoExecute']}",
        ["a=b:NoSchedule", "a=b:NoExecute"],
    ),
    "an argument": (
        "k3os: {taints: ['a=b:NoSchedule'], k3s_args: [server, '--node-taint=a=c:NoSchedule']}",
        ["a=c:NoSchedule"],
    ),
    "two words": (
        "k3os: {taints: ['a=b:NoSchedule'], k3s_args: [server, --node-taint, 'a=b:NoSchedule']}",
        ["a=b:NoSchedule"],
    ),
    "a file of k3s": (
        "write_files: [{path: /etc/rancher/k3s/config.yaml, content: 'node-taint: "
        '["a=c:NoSchedule", "d=e:NoSchedule"]\'}]\n'
        "k3os: {taints: ['a=b:NoSchedule', 'f=g:NoExecute']}",
        ["a=c:NoSchedule", "d=e:NoSchedule", "f=g:NoExecute"],
    ),
}


@pytest.mark.parametrize("text,expected", TAINTS.values(), ids=TAINTS)
def test_k3s_gets_one_taint_of_a_key_and_effect(
    machine: Machine, text: str, expected: list[str]
) -> None:
    machine.apply("boot", f"{text}\n")
    arguments = of_arguments(argv(machine)).get("node-taint", [])
    assert given(str(machine.root)).get("node-taint", []) + arguments == expected
