"""k3os.kubelet: the fields that a kubelet knows, with their types."""

import json

import pytest

from k3os.config.check import check_data, check_text
from k3os.config.kubelet import as_object
from k3os.config.kubelet_values import fitting

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
        ("maxPod: 3", "is not a field of KubeletConfiguration; did you mean maxPods?"),
        ("max-pods: 3", "did you mean maxPods?"),
        ("quux: 3", "write a newer one by write_files"),
        ("memorySwap: {swap: x}", "is not a field of KubeletConfiguration"),
        ("maxPods: many", "must be a number, not `many`"),
        ("maxPods: 1.5", "must be a number, not `1.5`"),
        ("seccompDefault: perhaps", "must be true or false"),
        ("imageMaximumGCAge: 90", "must be a duration, not `90`"),
        ("imageMaximumGCAge: 1 day", "must be a duration"),
        ("memoryThrottlingFactor: 80%", "must be a number between 0 and 1"),
        ("memoryThrottlingFactor: 0.0", "must be a number between 0 and 1"),
        ("enforceNodeAllocatable: [pods, all]", "`all` is unknown; known: none, pods"),
        ("featureGates: {A: 1}", "A must be true or false"),
        ("evictionHard: 5", "pairs"),
        ("maxPods: 99999999999", "99999999999 is out of range; write 0 to 2147483647"),
        ("maxPods: -1", "-1 is out of range"),
        ("maxPods: 9" + "9" * 5000, "is out of range"),
        ("oomScoreAdj: -1001", "write -1000 to 1000"),
        ("imageGCHighThresholdPercent: 101", "write 0 to 100"),
        ("readOnlyPort: 70000", "write 0 to 65535"),
        ("nodeLeaseDurationSeconds: 0", "write 1 to"),
        ("containerLogMaxFiles: 1", "write 2 to"),
        ("topologyManagerPolicy: stict", "`stict` is unknown; known: none, best-effort"),
        ("memorySwap: {swapBehavior: limited}", "known: LimitedSwap, NoSwap"),
        ("tlsMinVersion: '1.2'", "known: VersionTLS10"),
        ("evictionHard: {memory.avail: 5%}", "memory.avail is not a signal; did you mean"),
        ("evictionHard: {memory.available: 5 %}", "must be a quantity or a percentage, not `5 %`"),
        ("evictionHard: {memory.available: 101%}", "must be a quantity or a percentage"),
        ("evictionSoft: {nodefs.available: lots}", "must be a quantity or a percentage"),
        ("evictionSoftGracePeriod: {nodefs.available: 90}", "must be a duration, not `90`"),
        ("evictionMinimumReclaim: {nodefs.free: 1Gi}", "nodefs.free is not a signal"),
        ("kubeReserved: {disk: 1Gi}", "disk is not a resource; known: cpu, memory"),
        ("systemReserved: {memory: 100MB}", "must be a quantity, not `100MB`"),
        ("systemReserved: {memory: -1Gi}", "must be a quantity, not `-1Gi`"),
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


@pytest.mark.parametrize(
    "field",
    [
        "kubeReserved: {cpu: 200m, memory: 1.5Gi, ephemeral-storage: 1e9, pid: '1000'}",
        "evictionHard: {memory.available: 0, pid.available: 12.5%, containerfs.inodesFree: 5%}",
        "evictionSoftGracePeriod: {memory.available: 1m30s}",
        "podPidsLimit: 9223372036854775807",
        "nodeStatusMaxImages: -1",
        "hairpinMode: none",
    ],
)
def test_what_a_kubelet_takes_is_taken(field):
    found, problems = checked(f"{{{field}}}")
    assert problems == []
    assert list(found) == [field.partition(":")[0]]


@pytest.mark.parametrize(
    ("fields", "left", "words"),
    [
        (
            "evictionSoft: {memory.available: 1Gi}",
            [],
            "evictionSoftGracePeriod has no memory.avail",
        ),
        (
            "evictionSoft: {nodefs.available: 1Gi}, "
            "evictionSoftGracePeriod: {nodefs.available: 1m}",
            ["evictionSoft", "evictionSoftGracePeriod"],
            "",
        ),
        ("imageGCHighThresholdPercent: 70", [], "imageGCLowThresholdPercent (80) must be less"),
        (
            "imageGCHighThresholdPercent: 70, imageGCLowThresholdPercent: 60",
            ["imageGCHighThresholdPercent", "imageGCLowThresholdPercent"],
            "",
        ),
        ("imageGCLowThresholdPercent: 85", [], "must be less than imageGCHighThresholdPercent"),
        ("imageMaximumGCAge: 90s", [], "must be more than imageMinimumGCAge (2m)"),
        ("imageMaximumGCAge: 0s", ["imageMaximumGCAge"], ""),
        ("imageMaximumGCAge: 1h, imageMinimumGCAge: 3600s", ["imageMinimumGCAge"], "must be more"),
    ],
)
def test_what_does_not_fit_together_is_left_out_of_the_merged_configuration(fields, left, words):
    """Fields may come from several sources, so checking a single source proves nothing."""
    text = f"k3os: {{kubelet: {{{fields}}}}}".encode()
    values, problems = check_text(text, "c.yaml")
    assert problems == []
    kept, refused = fitting(values[KEY].data)
    assert list(kept) == left
    assert all(words in why for _, why, _ in refused)
    assert bool(refused) == bool(words)
    said = [str(each) for each in check_data(text, "c.yaml")]
    assert [words in each for each in said if words] == [True] * len(refused)
