"""k3os.containerd: a template in the form of the containerd that runs."""

import json

import pytest

from .conftest import Machine

DIRECTORY = "var/lib/rancher/k3s/agent/etc/containerd"
V2 = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]\nruntime_type = "x"\n'
V3 = '[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata]\nruntime_type = "x"\n'
EITHER = '[proxy_plugins.stargz]\ntype = "snapshot"\n'


def config(text: str) -> str:
    return json.dumps({"k3os": {"containerd": text}})


def has_k3s(machine: Machine, version: str) -> None:
    link = machine.root / "run/k3os/k3s"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(f"/k3os/system/k3s/{version}/k3s")


def names(machine: Machine) -> list[str]:
    directory = machine.root / DIRECTORY
    return sorted(each.name for each in directory.iterdir()) if directory.exists() else []


@pytest.mark.parametrize(
    ("version", "text", "name"),
    [
        ("v1.33.1+k3s1", V3, "config-v3.toml.tmpl"),
        ("v1.33.1+k3s1", V2, "config.toml.tmpl"),
        ("v1.33.1+k3s1", EITHER, "config-v3.toml.tmpl"),
        ("v1.30.1+k3s1", V2, "config.toml.tmpl"),
        ("v1.30.1+k3s1", EITHER, "config.toml.tmpl"),
        ("abc", EITHER, "config.toml.tmpl"),
    ],
)
def test_k3s_adds_it_to_its_own(machine: Machine, version: str, text: str, name: str) -> None:
    has_k3s(machine, version)
    assert machine.apply("boot", config(text)).is_fine
    assert names(machine) == [name]
    assert machine.mode(f"{DIRECTORY}/{name}") == 0o600, "a runtime's or snapshotter's secrets"
    whole = machine.text(f"{DIRECTORY}/{name}")
    assert whole.startswith('{{ template "base" . }}\n')
    assert whole.endswith(text)
    machine.apply("runtime", "hostname: a\n")
    assert names(machine) == []


def test_another_k3s_gets_the_other_form(machine: Machine) -> None:
    has_k3s(machine, "v1.30.1+k3s1")
    machine.apply("runtime", config(EITHER))
    has_k3s(machine, "v1.33.1+k3s1")
    machine.apply("boot")
    machine.apply("runtime")
    assert names(machine) == ["config-v3.toml.tmpl"]


def test_a_containerd_that_would_not_know_it_is_told_nothing(machine: Machine) -> None:
    has_k3s(machine, "v1.30.1+k3s1")
    report = machine.apply("boot", config(V3))
    assert names(machine) == []
    assert ["brings containerd 1" in each.reason for each in report.failed] == [True]


def test_a_template_of_write_files_stays_the_users(machine: Machine) -> None:
    own = {"path": f"/{DIRECTORY}/config.toml.tmpl", "content": "mine"}
    machine.apply("runtime", json.dumps({"write_files": [own], "k3os": {"containerd": EITHER}}))
    assert names(machine) == ["config.toml.tmpl"]
    assert machine.text(f"{DIRECTORY}/config.toml.tmpl") == "mine"
