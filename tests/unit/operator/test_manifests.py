"""The operator's objects: complete, consistent, and without unnecessary rights."""

import json
import re
from itertools import product
from typing import Any

import pytest
import yaml

from k3os import names
from k3os.cluster.node_pod import NODE_ACCOUNT
from k3os.names import OPERATOR_LABEL
from k3os.operator import crd
from k3os.operator.manifests import (
    ARCH_LABEL,
    MAY_SCRAPE,
    PORT,
    Build,
    as_yaml,
    image_name,
    manifests,
    tag,
)

VERSION = "v1.2.0+k3s1"
BUILD = Build(VERSION, f"sha256:{'5' * 64}", "arm64")
# Kubernetes, "Object Names and IDs"; distribution specification, <reference> as a tag; a label
DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
TAG = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
LABEL_VALUE = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
CLUSTER_WIDE = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}

# The rights for what the operator does, and no others: verbs for each resource; "own": in its
# namespace.
MAY = {
    ("cluster", "k3os.io", "nodepools"): "get list watch patch",
    ("cluster", "k3os.io", "nodepools/status"): "patch",
    ("cluster", "", "nodes"): "get list watch patch",
    ("cluster", "", "pods"): "list watch",
    ("cluster", "", "pods/eviction"): "create",
    ("cluster", "policy", "poddisruptionbudgets"): "list watch",
    ("cluster", "storage.k8s.io", "volumeattachments"): "list watch",
    ("cluster", "", "persistentvolumes"): "get",
    ("cluster", "admissionregistration.k8s.io", "validatingadmissionpolicies"): "get create patch",
    ("cluster", "admissionregistration.k8s.io", "validatingadmissionpolicybindings"): (
        "get create patch"
    ),
    ("cluster", "", "namespaces"): "list watch",
    ("cluster", "", "events"): "create patch",
    ("cluster", "events.k8s.io", "events"): "create patch",
    ("cluster", "apiextensions.k8s.io", "customresourcedefinitions"): "get list watch",
    **{
        ("cluster", "apps", each): "get"
        for each in ("daemonsets", "deployments", "replicasets", "statefulsets")
    },
    ("own", "batch", "jobs"): "get list watch create delete",
    ("own", "batch", "cronjobs"): "get",
    ("own", "", "secrets"): "get list create delete patch",
    ("own", "apps", "controllerrevisions"): "get list create patch delete",
    ("own", "apps", "deployments/scale"): "patch",
    ("own", "coordination.k8s.io", "leases"): "get create update",
}


def found(kind: str, name: str = "") -> dict[str, Any]:
    """The only object of this kind (and name)."""
    (only,) = [
        each
        for each in manifests(BUILD)
        if each["kind"] == kind and name in ("", each["metadata"]["name"])
    ]
    return only


def pod() -> dict[str, Any]:
    template: dict[str, Any] = found("Deployment")["spec"]["template"]
    return template


def container() -> dict[str, Any]:
    only: dict[str, Any]
    (only,) = pod()["spec"]["containers"]
    return only


def test_every_object_is_there_once_with_a_valid_name_and_namespace() -> None:
    seen = []
    for each in manifests(BUILD):
        meta = each["metadata"]
        seen.append((each["kind"], meta["name"]))
        if each["kind"] != "CustomResourceDefinition":
            assert re.fullmatch(DNS_LABEL, meta["name"])
        expected = None if each["kind"] in CLUSTER_WIDE else names.NAMESPACE
        assert meta.get("namespace") == expected, each["kind"]
        for value in meta.get("labels", {}).values():
            assert re.fullmatch(LABEL_VALUE, value)
    assert len(set(seen)) == len(seen)
    assert {kind for kind, _ in seen} == CLUSTER_WIDE | {
        *("ServiceAccount", "Role", "RoleBinding", "Deployment", "PodDisruptionBudget"),
        *("Service", "NetworkPolicy"),
    }


def test_the_namespace_comes_first_and_the_definition_is_that_of_crd() -> None:
    first, second = manifests(BUILD)[:2]
    assert first["metadata"]["name"] == names.NAMESPACE
    assert second == crd.definition()


def test_the_rights_are_those_of_the_table_and_no_others() -> None:
    granted = {}
    for kind, where in (("ClusterRole", "cluster"), ("Role", "own")):
        for rule in found(kind)["rules"]:
            for group, resource in product(rule["apiGroups"], rule["resources"]):
                assert (where, group, resource) not in granted
                granted[where, group, resource] = sorted(rule["verbs"])
    assert granted == {key: sorted(verbs.split()) for key, verbs in MAY.items()}
    assert "*" not in json.dumps([found("ClusterRole")["rules"], found("Role")["rules"]])


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_only_the_operator_is_given_the_rights(kind: str) -> None:
    binding, role = found(f"{kind}Binding"), found(kind)
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (
        *(kind, role["metadata"]["name"]),
    )
    (subject,) = binding["subjects"]
    assert subject["namespace"] == names.NAMESPACE
    assert subject["name"] == pod()["spec"]["serviceAccountName"] != NODE_ACCOUNT
    found("ServiceAccount", subject["name"])


def test_the_account_of_the_jobs_on_nodes_has_no_token() -> None:
    assert found("ServiceAccount", NODE_ACCOUNT)["automountServiceAccountToken"] is False


def test_probes_service_and_policy_use_the_port_of_the_container() -> None:
    (port,) = container()["ports"]
    assert port["containerPort"] == PORT
    for probe in ("livenessProbe", "readinessProbe"):
        assert container()[probe]["httpGet"]["port"] == port["name"]
    service = found("Service")
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert service["metadata"]["annotations"]["prometheus.io/port"] == str(PORT)
    (ingress,) = found("NetworkPolicy")["spec"]["ingress"]
    assert [each["port"] for each in ingress["ports"]] == [PORT]


def test_only_pods_of_namespaces_that_somebody_has_labelled_may_read_the_metrics() -> None:
    (ingress,) = found("NetworkPolicy")["spec"]["ingress"]
    assert ingress["from"] == [{"namespaceSelector": {"matchLabels": MAY_SCRAPE}}]
    assert not found("Namespace")["metadata"]["labels"].items() & MAY_SCRAPE.items()


def test_how_many_replicas_there_are_is_not_said_so_that_k3s_undoes_no_scaling() -> None:
    assert "replicas" not in found("Deployment")["spec"]


def test_every_selector_finds_the_operator() -> None:
    labels = pod()["metadata"]["labels"].items()
    budget, policy = found("PodDisruptionBudget")["spec"], found("NetworkPolicy")["spec"]
    for selector in (
        found("Deployment")["spec"]["selector"]["matchLabels"],
        found("Service")["spec"]["selector"],
        budget["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
    ):
        assert selector
        assert selector.items() <= labels


def test_the_api_server_can_be_reached_on_whichever_port_k3s_listens() -> None:
    ports = [port for rule in found("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
    assert ports == [{"protocol": "TCP"}, {"protocol": "UDP", "port": 53}]


def test_the_pod_is_restricted_as_pod_security_asks() -> None:
    """kubernetes.io, "Pod Security Standards": the profile "restricted"."""
    context, own = pod()["spec"]["securityContext"], container()["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert own["readOnlyRootFilesystem"] is True
    assert not pod()["spec"].keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert all("emptyDir" in volume for volume in pod()["spec"]["volumes"])


def test_it_runs_where_its_image_is_and_asks_no_registry() -> None:
    assert container()["image"] == BUILD.image
    assert pod()["spec"]["nodeSelector"][ARCH_LABEL] == BUILD.arch
    assert container()["imagePullPolicy"] == "Never"
    affinity = pod()["spec"]["affinity"]["nodeAffinity"]
    ((term, room),) = [
        term["matchExpressions"]
        for term in affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    ]
    # `k3os report` sets this label on every node
    assert (term["key"], term["values"]) == (names.VERSION_LABEL, [tag(VERSION)])
    assert room == {"key": OPERATOR_LABEL, "operator": "NotIn", "values": ["false"]}


def test_it_may_be_started_on_a_node_that_is_being_drained() -> None:
    keys = {each["key"] for each in pod()["spec"]["tolerations"]}
    assert {"node.kubernetes.io/unschedulable", "node-role.kubernetes.io/control-plane"} <= keys


@pytest.mark.parametrize("version", ["0.1.0", "v1.2.0+k3s1", "1.0.0-rc.1+build.5", "1.0~beta"])
def test_every_version_is_a_valid_tag_and_label(version: str) -> None:
    name, _, found_tag = image_name(version).rpartition(":")
    assert name == "k3os.invalid/k3os-operator"
    assert re.fullmatch(TAG, found_tag)
    assert re.fullmatch(LABEL_VALUE, tag(version))


def test_the_yaml_is_the_same_objects_without_anchors() -> None:
    text = as_yaml(BUILD)
    assert list(yaml.safe_load_all(text)) == manifests(BUILD)
    assert not re.search(r"[&*]id\d+", text)
    assert text.splitlines()[0].startswith(f"# The operator of k3OS {VERSION}.")
    assert text == as_yaml(BUILD)
