"""k3os.kubelet: fields that a kubelet knows, with their types."""

import json

import pytest

from k3os.config.check import check_data, check_text
from k3os.config.kubelet import as_object

KEY = "k3os.kubelet"


def checked(text):
    values, problems = check_text(f"k3os: {{kubelet: {text}}}".encode(), "c.yaml")
    fields = values[KEY].data if KEY in values else {}
    return as_object(fields), [str(each) for each in problems]


def test_each_type_arrives_as_a_kubelet_reads_it():
    found, problems = checked(
        "{maxPods: 200, seccompDefault: yes, memoryThrottlingFactor: 0.8, cpuManagerPolicy: static,"
        " imageMaximumGCAge: 1h30m, evictionHard: {memory.available: 300Mi, nodefs.available: 5%},"
        " featureGates: {CPUManager: true, NodeSwap: false}, allowedUnsafeSysctls: [net.core.*],"
        " podPidsLimit: -1, memorySwap: {swapBehavior: LimitedSwap}}"
    )
    assert problems == []
    assert found == {
        "maxPods": 200,
        "seccompDefault": True,
        "memoryThrottlingFactor": 0.8,
        "cpuManagerPolicy": "static",
        "imageMaximumGCAge": "1h30m",
        "evictionHard": {"memory.available": "300Mi", "nodefs.available": "5%"},
        "featureGates": {"CPUManager": True, "NodeSwap": False},
        "allowedUnsafeSysctls": ["net.core.*"],
        "podPidsLimit": -1,
        "memorySwap": {"swapBehavior": "LimitedSwap"},
    }


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("maxPod: 3", "is no field of KubeletConfiguration; did you mean maxPods?"),
        ("max-pods: 3", "did you mean maxPods?"),
        ("quux: 3", "write a newer one by write_files"),
        ("memorySwap: {swap: x}", "is no field of KubeletConfiguration"),
        ("maxPods: many", "wants a number, not `many`"),
        ("maxPods: 1.5", "wants a number, not `1.5`"),
        ("seccompDefault: perhaps", "wants true or false"),
        ("imageMaximumGCAge: 90", "wants a duration, not `90`"),
        ("imageMaximumGCAge: 1 day", "wants a duration"),
        ("memoryThrottlingFactor: 80%", "wants a number between 0 and 1"),
        ("featureGates: {A: 1}", "A wants true or false"),
        ("evictionHard: 5", "pairs"),
        ("shutdownGracePeriod: 30s", "write k3os.shutdown"),
        ("registerWithTaints: []", "write k3os.taints"),
        ("clusterDNS: [1.1.1.1]", "write `--cluster-dns=…`"),
        ("authentication: {anonymous: {enabled: true}}", "k3s or another key decides it"),
        ("kind: KubeletConfiguration", "leave it out"),
    ],
)
def test_a_field_that_would_end_the_kubelet_is_left_out_and_the_others_count(field, words):
    found, problems = checked(f"{{podsPerCore: 7, {field}}}")
    assert found == {"podsPerCore": 7}
    assert len(problems) == 1
    assert words in problems[0] or words == "pairs"
    assert problems[0].startswith("c.yaml:1:")


@pytest.mark.parametrize(
    ("version", "count"), [("v1.31.6+k3s1", 1), ("v1.32.0+k3s1", 0), ("v1.22.3+k3s1", 1), ("", 0)]
)
def test_the_check_knows_which_k3s_reads_it(version, count):
    found = check_data(b"k3os: {kubelet: {maxPods: 3}}\n", "c.yaml", version)
    errors = [str(each) for each in found if each.is_error]
    assert len(errors) == count
    assert all("came with v1.32" in each for each in errors)


@pytest.mark.parametrize(
    "argument", ["--kubelet-arg=max-pods=9", "--kubelet-arg max-pods=9", "--kubelet-arg=MaxPods=9"]
)
def test_an_argument_that_wins_is_a_warning(argument):
    text = json.dumps({"k3os": {"kubelet": {"maxPods": 3}, "k3s_args": [argument]}})
    found = [str(each) for each in check_data(text.encode(), "c.yaml")]
    assert [
        each for each in found if "is what the kubelet takes, and not k3os.kubelet.maxPods" in each
    ]
