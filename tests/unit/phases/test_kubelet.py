"""k3os.kubelet: a drop-in for a k3s that reads it."""

import pytest
import yaml

from .conftest import Machine

FILE = "var/lib/rancher/k3s/agent/etc/kubelet.conf.d/60-k3os.conf"
CONFIG = "k3os: {kubelet: {maxPods: 200, seccompDefault: true}}\n"


def has_k3s(machine: Machine, version: str) -> None:
    link = machine.root / "run/k3os/k3s"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/k3os/system/k3s/{version}/k3s")


@pytest.mark.parametrize("version", ["v1.32.0+k3s1", "v1.37.1+k3s1", "abc"])
def test_the_kubelet_finds_it_until_the_key_leaves(machine: Machine, version: str) -> None:
    has_k3s(machine, version)
    assert machine.apply("boot", CONFIG).is_fine
    assert yaml.safe_load(machine.text(FILE)) == {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "maxPods": 200,
        "seccompDefault": True,
    }
    machine.apply("runtime", "hostname: a\n")
    assert not (machine.root / FILE).exists()


def test_an_older_k3s_is_told_nothing_and_the_report_says_why(machine: Machine) -> None:
    has_k3s(machine, "v1.31.6+k3s1")
    report = machine.apply("boot", CONFIG)
    assert not (machine.root / FILE).exists()
    why = "k3s v1.31 reads no directory of kubelet settings: it came with v1.32"
    assert [each.reason.startswith(why) for each in report.failed] == [True]


def test_what_a_kubelet_would_end_at_is_left_out_and_the_rest_is_there(machine: Machine) -> None:
    has_k3s(machine, "v1.33.1+k3s1")
    text = "k3os: {kubelet: {maxPods: 200, evictionSoft: {memory.available: 1Gi}}}\n"
    report = machine.apply("boot", text)
    assert [each.key for each in report.failed] == ["k3os.kubelet.evictionSoft"]
    assert "evictionSoft" not in yaml.safe_load(machine.text(FILE))
    assert yaml.safe_load(machine.text(FILE))["maxPods"] == 200
