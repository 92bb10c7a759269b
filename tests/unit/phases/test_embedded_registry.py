"""k3os.embedded_registry: set on servers whose k3s supports it, and nowhere else."""

import json

import pytest
import yaml

from k3os.config.check import check_data

from .conftest import Machine

FILE = "etc/rancher/k3s/config.yaml.d/45-k3os-registry.yaml"
ON = json.dumps({"k3os": {"embedded_registry": True, "registries": {"mirrors": {"*": {}}}}})


def has_k3s(machine: Machine, version: str) -> None:
    link = machine.root / "run/k3os/k3s"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/k3os/system/k3s/{version}/k3s")


@pytest.mark.parametrize("version", ["v1.26.13+k3s1", "v1.37.0+k3s1", "abc"])
def test_a_server_is_told_until_the_key_leaves(machine: Machine, version: str) -> None:
    has_k3s(machine, version)
    assert machine.apply("boot", ON).is_fine
    assert yaml.safe_load(machine.text(FILE)) == {"embedded-registry": "true"}
    machine.apply("runtime", "k3os: {embedded_registry: false}\n")
    assert not (machine.root / FILE).exists()


def test_a_k3s_without_it_is_not_told_and_the_report_says_why(machine: Machine) -> None:
    has_k3s(machine, "v1.22.3+k3s1")
    report = machine.apply("boot", ON)
    assert not (machine.root / FILE).exists()
    why = "k3s v1.22 has no --embedded-registry: it came with v1.26"
    assert [each.reason.startswith(why) for each in report.failed] == [True]


@pytest.mark.parametrize(
    ("argument", "is_told"),
    [
        ("--docker", False),
        ("--docker=true", False),
        ("--docker=false", True),
        ("--container-runtime-endpoint=/run/crio.sock", False),
        ("--container-runtime-endpoint /run/crio.sock", False),
        ("--disable=traefik", True),
    ],
)
def test_k3s_would_end_at_it_without_its_own_containerd(
    machine: Machine, argument: str, is_told: bool
) -> None:
    has_k3s(machine, "v1.33.1+k3s1")
    report = machine.apply("boot", f'{ON[:-2]}, "k3s_args": ["{argument}"]}}}}')
    assert (machine.root / FILE).exists() == is_told
    said = [each.reason.partition(":")[0] for each in report.failed]
    flag = argument.replace("=", " ").split()[0]
    assert said == (
        [] if is_told else [f"k3s shares images of its own containerd, not with {flag}"]
    )


def test_an_agent_would_end_at_it(machine: Machine) -> None:
    machine.apply("boot", f'{ON[:-2]}, "server_url": "https://a:6443", "token": "x"}}}}')
    assert not (machine.root / FILE).exists()


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("v1.22.3+k3s1", ["k3s v1.22 has no --embedded-registry"]),
        ("v1.33.1+k3s1", []),
        ("", []),
    ],
)
def test_the_check_knows_the_version(version: str, words: list[str]) -> None:
    found = [str(each) for each in check_data(ON.encode(), "c.yaml", version) if each.is_error]
    assert [word in each for word, each in zip(words, found, strict=True)] == [True] * len(words)


def test_the_check_says_that_nothing_is_shared() -> None:
    found = [str(each) for each in check_data(b"k3os: {embedded_registry: true}\n", "c.yaml")]
    assert any(
        each.startswith("c.yaml:1:27: warning: k3os.embedded_registry: sha") for each in found
    )
