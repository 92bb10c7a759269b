"""A k3s whose data is elsewhere: no matter how it is configured, all our programs look there."""

import json
import os
from pathlib import Path

import pytest

from k3os.cluster import kubelet
from k3os.config.check import check_data, check_text
from k3os.config.load import Config, load_config
from k3os.k3s import settings
from k3os.node.redaction import known_secrets
from k3os.paths import K3S_DATA
from k3os.phases import images, operator
from k3os.phases.changed import not_in_k3s
from k3os.phases.k3s import data_directory
from k3os.phases.node import Node

from .conftest import Machine

UNITS = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/systemd/system"
PLACE = "/var/data/k3s"
CONFIG_FILE = "/etc/rancher/k3s/config.yaml"
BASE64 = "ZGF0YS1kaXI6IC92YXIvZGF0YS9rM3M="  # data-dir: /var/data/k3s
WAYS = {
    "one word": f"k3os: {{k3s_args: [server, --data-dir={PLACE}]}}\n",
    "two words": f"k3os: {{k3s_args: [server, --data-dir, {PLACE}/]}}\n",
    "the short flag": f"k3os: {{k3s_args: [server, -d, {PLACE}]}}\n",
    "a text with a blank": f'k3os: {{k3s_args: [server, "--data-dir {PLACE}"]}}\n',
    "the user's file": f"write_files: [{{path: {CONFIG_FILE}, content: 'data-dir: {PLACE}'}}]\n",
    "one beside it": f"write_files: [{{path: {CONFIG_FILE}.d/1.yaml, content: 'd: {PLACE}'}}]\n",
    "one in base64": f"write_files: [{{path: {CONFIG_FILE}, encoding: b64, content: {BASE64}}}]\n",
    "a variable": f"k3os: {{environment: {{K3S_DATA_DIR: {PLACE}}}}}\n",
    "a login's variable": (
        f"write_files: [{{path: /etc/environment, content: 'K3S_DATA_DIR={PLACE}'}}]\n"
    ),
}
each_way = pytest.mark.parametrize("config", WAYS.values(), ids=WAYS.keys())


def is_there(machine: Machine, path: str) -> bool:
    return os.path.lexists(f"{machine.root}{path}")


@each_way
def test_what_k3s_finds_and_what_looks_for_it_follow(machine: Machine, config: str) -> None:
    machine.put(operator.IMAGE[1:], "image")
    machine.put(operator.MANIFESTS[1:], "kind: Namespace\n")
    machine.put(f"{images.MEDIUM[1:]}/some.tar.zst", "archive")
    for phase in ("boot", "runtime"):
        report = machine.apply(phase, config)
        assert not report.failed, report.lines()
    assert is_there(machine, f"{PLACE}/server/manifests/k3os-operator.yaml")
    archive = f"{PLACE}/agent/images/some.tar.zst"
    assert os.readlink(f"{machine.root}{archive}") == f"{images.MEDIUM}/some.tar.zst"
    assert not is_there(machine, "/var/lib/rancher/k3s")
    assert os.readlink(f"{machine.root}{K3S_DATA}") == PLACE


@each_way
def test_the_tools_find_it_in_our_file(machine: Machine, config: str) -> None:
    """kubectl, crictl and ctr do not get the service's arguments and variables."""
    machine.apply("runtime", config)
    files = [machine.root / CONFIG_FILE[1:], *(machine.root / f"{CONFIG_FILE[1:]}.d").glob("*")]
    ours = [each.read_text() for each in files if each.exists() and "by k3os" in each.read_text()]
    assert any(f'data-dir: "{PLACE}"\n' in text for text in ours)


@each_way
def test_the_tokens_of_the_server_are_secrets_there_too(machine: Machine, config: str) -> None:
    machine.put(f"{PLACE[1:]}/server/token", "K10abc::server:planted\n")
    machine.put("var/lib/rancher/k3s/server/agent-token", "of-before\n")
    machine.apply("runtime", config)
    loaded, _ = load_config(str(machine.root), cmdline="")
    found = known_secrets(loaded, str(machine.root))
    assert {"K10abc::server:planted", "planted", "of-before"} <= found


def test_a_file_that_a_command_wrote_counts_for_the_tokens(machine: Machine) -> None:
    machine.put(CONFIG_FILE[1:], f"data-dir: {PLACE}\n")
    machine.put(f"{PLACE[1:]}/server/token", "planted\n")
    loaded, _ = load_config(str(machine.root), cmdline="")
    assert "planted" in known_secrets(loaded, str(machine.root))


def test_where_nothing_is_said_all_is_at_the_usual_place(machine: Machine) -> None:
    machine.apply("runtime", "hostname: a\n")
    assert os.readlink(f"{machine.root}{K3S_DATA}") == "/var/lib/rancher/k3s"
    assert "data-dir" not in machine.text(CONFIG_FILE[1:])


def test_the_last_word_is_the_arguments_then_the_files_then_the_variable(machine: Machine) -> None:
    variable = "k3os: {environment: {K3S_DATA_DIR: /var/v}"
    file = f"write_files: [{{path: {CONFIG_FILE}, content: 'data-dir: /var/f'}}]\n"
    machine.apply("runtime", f"{file}{variable}, k3s_args: [server, -d=/a, --data-dir=/var/b]}}\n")
    assert os.readlink(f"{machine.root}{K3S_DATA}") == "/var/b"
    machine.apply("runtime", f"{file}{variable}}}\n")
    assert os.readlink(f"{machine.root}{K3S_DATA}") == "/var/f"


def test_a_relative_place_is_one_of_the_root(machine: Machine) -> None:
    """k3s.service starts k3s in /."""
    machine.apply("runtime", "k3os: {k3s_args: [server, --data-dir=var/data]}\n")
    assert os.readlink(f"{machine.root}{K3S_DATA}") == "/var/data"


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("var/data", "/var/data"),
        ("./var/data", "/var/data"),
        ("/var/data//", "/var/data"),
        ("//var/data", "/var/data"),
        ("/data/../var//data", "/var/data"),
        ("/var/lib/rancher//k3s/", "/var/lib/rancher/k3s"),
        ("/", "/"),
    ],
)
def test_a_place_is_called_the_same_wherever_it_is_asked_for(given: str, place: str) -> None:
    """Copies of the datastore use k3s' own settings, the phases our configuration."""
    arguments = ["server", f"--data-dir={given}"]
    values = check_text(json.dumps({"k3os": {"k3s_args": arguments}}).encode(), "c")[0]
    assert data_directory(Config(values)) == place
    assert settings.data_directory(settings.of_arguments(arguments)) == place


def test_a_place_with_detours_persists_where_it_ends() -> None:
    assert said("k3os: {k3s_args: [--data-dir=/data/../var/k3s]}\n") == []
    assert "persist" in said("k3os: {k3s_args: [--data-dir=/var/../data]}\n")[0]


@pytest.mark.parametrize("place", ["~/k3s", "$HOME/k3s", "${HOME}/k3s"])
def test_a_home_directory_is_none_of_a_service(place: str) -> None:
    lines = said(f"k3os: {{k3s_args: ['--data-dir={place}']}}\n")
    (line,) = [each for each in lines if "home directory" in each]
    assert "write the whole path" in line


def test_whoever_speaks_to_the_cluster_looks_where_the_link_leads() -> None:
    assert f"{K3S_DATA}/agent/kubelet.kubeconfig" == kubelet.KUBECONFIG
    unit = (UNITS / "k3os-report.service").read_text()
    assert f"ExecCondition=/usr/bin/test -e {kubelet.KUBECONFIG}\n" in unit
    wrapper = (UNITS.parents[2] / "sbin/k3s").read_text()
    assert f"export K3S_CONFIG_FILE=$empty K3S_DATA_DIR={K3S_DATA}\n" in wrapper


def test_an_archive_of_the_users_stays_and_the_mediums_are_shown_once(machine: Machine) -> None:
    for name in ("mine.tar", "other.tar"):
        machine.put(f"{images.MEDIUM[1:]}/{name}", "of the medium")
    machine.put("var/lib/rancher/k3s/agent/images/mine.tar", "of the user")
    machine.apply("runtime", "hostname: a\n")
    assert machine.text("var/lib/rancher/k3s/agent/images/mine.tar") == "of the user"
    again = machine.apply("runtime")
    assert not [each for each in again.results if "other.tar" in each.what]


def test_a_template_there_counts_when_k3s_starts(machine: Machine) -> None:
    file = f"{PLACE}/agent/etc/containerd/config.toml.tmpl"
    text = WAYS["one word"] + f"write_files: [{{path: {file}, content: a}}]\n"
    machine.apply("runtime", text)
    machine.put("run/k3os/k3s-has", machine.text("run/k3os/k3s-wants"))
    machine.apply("runtime", text.replace("content: a", "content: b"))
    assert not_in_k3s(Node(str(machine.root))) == [file]


def said(config: str) -> list[str]:
    return [str(each) for each in check_data(config.encode(), "c")]


@each_way
def test_what_is_written_to_the_usual_place_is_not_read(config: str) -> None:
    entry = "{path: /var/lib/rancher/k3s/server/manifests/a.yaml, content: x}"
    if config.startswith("write_files"):
        config = f"{config[:-2]}, {entry}]\n"
    else:
        config += f"write_files: [{entry}]\n"
    assert [line for line in said(config) if "a.yaml" in line] == [
        line for line in said(config) if f"write it to {PLACE}/server/manifests/a.yaml" in line
    ]
    assert any("k3s does not look there" in line for line in said(config))


@pytest.mark.parametrize(
    ("place", "rest"),
    [
        ("/var/k3s", ""),
        ("/opt/k3s", ""),
        ("/home/k3s", ""),
        ("/usr/local/k3s", ""),
        ("/data/k3s", ", mounts: [{what: LABEL=d, where: /data}]"),
        ("/data", ", disks: [{device: /dev/sdb, filesystem: ext4, label: d, mount: /data}]"),
    ],
)
def test_a_place_that_persists_is_no_news(place: str, rest: str) -> None:
    assert said(f"k3os: {{k3s_args: [--data-dir={place}]{rest}}}\n") == []


@pytest.mark.parametrize("place", ["/data", "/srv/k3s", "/run/k3s-data", "/root/k3s", "/vary"])
@pytest.mark.parametrize(
    "way", ["the short flag", "the user's file", "a variable", "a login's variable"]
)
def test_a_place_that_is_new_at_each_boot_is_said(place: str, way: str) -> None:
    lines = said(WAYS[way].replace(PLACE, place))
    assert ["persist" in line and place in line for line in lines] == [True]


@pytest.mark.parametrize(
    ("content", "version", "is_said"),
    [
        ("debug: true", "v1.29.3+k3s1", True),
        ("debug: true", "v1.30.3+k3s1", False),
        ("debug: true", "", False),
        ("{data-dir: /var/x, debug: true}", "v1.29.3+k3s1", False),
    ],
)
def test_an_older_k3s_wants_it_in_the_users_own_file(
    content: str, version: str, is_said: bool
) -> None:
    file = f"write_files: [{{path: {CONFIG_FILE}, content: '{content}'}}]\n"
    lines = [str(each) for each in check_data(f"{file}{WAYS['one word']}".encode(), "c", version)]
    assert ["crictl and ctr" in line for line in lines] == ([True] if is_said else [])


def test_the_directory_of_a_configuration_is_known_without_a_node(tmp_path: Path) -> None:
    (tmp_path / "k3os/system").mkdir(parents=True)
    for config in WAYS.values():
        (tmp_path / "k3os/system/config.yaml").write_text(config)
        loaded, _ = load_config(str(tmp_path), cmdline="")
        assert data_directory(loaded) == PLACE
