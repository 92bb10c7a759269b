"""The operator's own objects in the cluster, and the name of its image.

Pure: a version in, plain objects out; the image carries them as YAML and k3s creates them.
Formats: kubernetes.io, "Kubernetes API Reference"; names: "Object Names and IDs" there; tags:
OCI distribution specification, "Pulling manifests".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from k3os.cluster import names
from k3os.operator import crd

NAME, NODE_ACCOUNT = "k3os-operator", "k3os-node"
REPOSITORY = f"{names.GROUP}/{NAME}"
# of the image's own user, see image/oci.py
UID = 65532
PORT = 8080
REPLICAS = 2
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "k3os"}

READ = ("get", "list", "watch")
EVENTS = ("create", "patch")


@dataclass(frozen=True)
class Rule:
    """What the operator may do. own: in its own namespace only."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    own: bool = False


# All that it may; each line is there for something that the operator does.
RULES = (
    Rule(names.GROUP, names.PLURAL, (*READ, "patch")),
    Rule(names.GROUP, f"{names.PLURAL}/status", ("patch",)),
    # cordon, and what it remembers of a node
    Rule("", "nodes", (*READ, "patch")),
    # drain
    Rule("", "pods", ("list", "watch")),
    Rule("", "pods/eviction", ("create",)),
    # kopf looks for what is served, and where
    Rule("apiextensions.k8s.io", "customresourcedefinitions", READ),
    Rule("", "namespaces", ("list", "watch")),
    Rule("", "events", EVENTS),
    Rule("events.k8s.io", "events", EVENTS),
    # a node's Job and its request, which may hold secrets
    Rule("batch", "jobs", (*READ, "create", "delete"), own=True),
    Rule("", "secrets", ("list", "create", "patch", "delete"), own=True),
    # one of the replicas leads
    Rule("coordination.k8s.io", "leases", ("get", "create", "update"), own=True),
)


def tag(version: str) -> str:
    """A version as the tag of an image, and as a label's value: both know no `+`."""
    from k3os.phases.k3s import label_value

    return label_value(version)


def image(version: str) -> str:
    """The image of one k3OS. It is on every node of that version, and in no registry."""
    return f"{REPOSITORY}:{tag(version)}"


def as_yaml(version: str) -> str:
    """All objects as one YAML text."""
    import yaml

    class Plain(yaml.SafeDumper):
        """Repeats what is the same: anchors are hard to read."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    head = f"# The operator of k3OS {version}. Written by k3os; switched off with k3os.operator.\n"
    return head + str(yaml.dump_all(manifests(version), Dumper=Plain, sort_keys=False, width=100))


def manifests(version: str) -> list[dict[str, Any]]:
    """The objects in the order in which they have to be created."""
    return [
        namespace(),
        crd.definition(),
        _account(NAME, mounts_token=True),
        # of the Jobs on the nodes: root on their node, nobody in the cluster
        _account(NODE_ACCOUNT, mounts_token=False),
        *_role("ClusterRole", [rule for rule in RULES if not rule.own]),
        *_role("Role", [rule for rule in RULES if rule.own]),
        deployment(version),
        _object("policy/v1", "PodDisruptionBudget", {"spec": {"maxUnavailable": 1, **_selector()}}),
        service(),
        network_policy(),
    ]


def _object(api: str, kind: str, more: dict[str, Any], name: str = NAME) -> dict[str, Any]:
    meta = {"name": name, "namespace": names.NAMESPACE, "labels": dict(LABELS)}
    return {"apiVersion": api, "kind": kind, "metadata": meta, **more}


def _selector() -> dict[str, Any]:
    return {"selector": {"matchLabels": {"app.kubernetes.io/name": NAME}}}


def namespace() -> dict[str, Any]:
    """Pods on nodes are privileged: kubernetes.io, "Pod Security Admission"."""
    levels = ("enforce", "audit", "warn")
    labels = {f"pod-security.kubernetes.io/{level}": "privileged" for level in levels}
    meta = {"name": names.NAMESPACE, "labels": {**LABELS, **labels}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def _account(name: str, *, mounts_token: bool) -> dict[str, Any]:
    return _object("v1", "ServiceAccount", {"automountServiceAccountToken": mounts_token}, name)


def _role(kind: str, rules: list[Rule]) -> list[dict[str, Any]]:
    """A Role or ClusterRole, and its binding."""
    api = "rbac.authorization.k8s.io"
    listed = [
        {"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)}
        for rule in rules
    ]
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": names.NAMESPACE}
    role = _object(f"{api}/v1", kind, {"rules": listed})
    reference = {"apiGroup": api, "kind": kind, "name": NAME}
    binding = _object(f"{api}/v1", f"{kind}Binding", {"roleRef": reference, "subjects": [account]})
    if kind == "ClusterRole":
        for each in (role, binding):
            del each["metadata"]["namespace"]
    return [role, binding]


def deployment(version: str) -> dict[str, Any]:
    """One replica leads, the other takes over; each on a node that has the image."""
    spec = {
        "replicas": REPLICAS,
        "revisionHistoryLimit": 2,
        **_selector(),
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1},
        },
        "template": {"metadata": {"labels": dict(LABELS)}, "spec": _pod(version)},
    }
    return _object("apps/v1", "Deployment", {"spec": spec})


# Also where nothing new is to be started, or a node is being drained: it is the one that drains.
TOLERATIONS = (
    {"key": "CriticalAddonsOnly", "operator": "Exists"},
    {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node-role.kubernetes.io/master", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node-role.kubernetes.io/etcd", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"},
)


def _pod(version: str) -> dict[str, Any]:
    # the image is nowhere else, and only one version of it
    has_image = {
        "matchExpressions": [
            {"key": names.VERSION_LABEL, "operator": "In", "values": [tag(version)]},
            # nor where there is no room for it (k3os.phases.operator)
            {"key": names.OPERATOR_LABEL, "operator": "NotIn", "values": ["false"]},
        ]
    }
    elsewhere = {
        "weight": 100,
        "podAffinityTerm": {
            "labelSelector": _selector()["selector"],
            "topologyKey": "kubernetes.io/hostname",
        },
    }
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    return {
        "serviceAccountName": NAME,
        # allowed outside of kube-system since Kubernetes 1.17
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "affinity": {
            "nodeAffinity": {required: {"nodeSelectorTerms": [has_image]}},
            "podAntiAffinity": {preferred: [elsewhere]},
        },
        "tolerations": [dict(each) for each in TOLERATIONS],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(version)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
    }


def _container(version: str) -> dict[str, Any]:
    facts = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "NODE_NAME": "spec.nodeName",
    }
    return {
        "name": "operator",
        "image": image(version),
        "imagePullPolicy": "Never",
        "args": ["run"],
        "env": [
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in facts.items()
        ],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "livenessProbe": {**_probe("/healthz"), "initialDelaySeconds": 20, "failureThreshold": 6},
        "readinessProbe": {**_probe("/readyz"), "failureThreshold": 3},
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def _probe(path: str) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": 10,
        "timeoutSeconds": 5,
    }


def service() -> dict[str, Any]:
    """Where metrics are, for a Prometheus that looks at annotations."""
    port = {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}
    found = _object("v1", "Service", {})
    found["metadata"]["annotations"] = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(PORT),
        "prometheus.io/path": "/metrics",
    }
    found["spec"] = {"selector": _selector()["selector"]["matchLabels"], "ports": [port]}
    return found


def network_policy() -> dict[str, Any]:
    """In: probes and metrics. Out: the API server, channels, DNS. A policy sees the port of the
    node behind the API server's address, which is k3s' `https-listen-port`: any."""
    spec = {
        "podSelector": _selector()["selector"],
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": PORT}]}],
        "egress": [{"ports": [{"protocol": "TCP"}, {"protocol": "UDP", "port": 53}]}],
    }
    return _object("networking.k8s.io/v1", "NetworkPolicy", {"spec": spec})
