"""The operator's own objects in the cluster, and the name of its image.

Pure: a build in, plain objects out; the image carries them as YAML and k3s creates them. Pods name
the operator's image by the digest of its configuration, as containerd and the kubelet accept it: a
name with a tag could bring in another image, if a mirror or a registry answers to that name. For
clusters whose nodes do not have the image, kustomize.py and chart.py use the same objects with one
that nodes can pull.
Formats: kubernetes.io, "Kubernetes API Reference"; names: "Object Names and IDs" there; tags:
OCI distribution specification, "Pulling manifests".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from k3os import names
from k3os.cluster.node_pod import NODE_ACCOUNT
from k3os.cluster.pulled_image import CONTAINER, NAME_LABEL, NEVER
from k3os.names import OPERATOR_UID
from k3os.operator import admission_policy, crd

NAME = names.OPERATOR
# for people who import the archive; a reserved domain, so no registry can have it (RFC 2606)
REPOSITORY = f"k3os.invalid/{NAME}"

PULL = "IfNotPresent"
PORT = 8080
# the operator adds a second replica if there is a second node for it
MOST_REPLICAS = 2
ARCH_LABEL = "kubernetes.io/arch"
# label of namespaces whose pods may read the metrics
MAY_SCRAPE = {f"{names.GROUP}/metrics": "allowed"}
LABELS = {NAME_LABEL: NAME, "app.kubernetes.io/part-of": "k3os"}
# what an uninstall leaves: without the definition all NodePools would be deleted, and without the
# namespace their history. Helm, "Tell Helm Not To Uninstall a Resource"
KEPT = ("Namespace", "CustomResourceDefinition")
KEEP = {"helm.sh/resource-policy": "keep"}

READ = ("get", "list", "watch")
EVENTS = ("create", "patch")


@dataclass(frozen=True)
class Build:
    """The image: its version, how pods name it, its nodes' architecture. image: its digest as
    `sha256:…` if nodes have it, else a reference that they can pull, with secrets as the names of
    the Secrets for that."""

    version: str
    image: str
    arch: str
    secrets: tuple[str, ...] = ()

    @property
    def is_pulled(self) -> bool:
        return not self.image.startswith("sha256:")


@dataclass(frozen=True)
class Rule:
    """A permission of the operator. own: in its own namespace only."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    own: bool = False


# All its permissions; the operator needs each of them for something.
RULES = (
    Rule(names.GROUP, names.PLURAL, (*READ, "patch")),
    Rule(names.GROUP, f"{names.PLURAL}/status", ("patch",)),
    # cordon, and annotations with its state
    Rule("", "nodes", (*READ, "patch")),
    # drain
    Rule("", "pods", ("list", "watch")),
    Rule("", "pods/eviction", ("create",)),
    # why a drain is stuck, and whether the node's volumes are detached
    Rule("policy", "poddisruptionbudgets", ("list", "watch")),
    Rule("storage.k8s.io", "volumeattachments", ("list", "watch")),
    Rule("", "persistentvolumes", ("get",)),
    # the policy with which the API server refuses wrong NodePools
    Rule(admission_policy.GROUP, "validatingadmissionpolicies", ("get", "create", "patch")),
    Rule(admission_policy.GROUP, "validatingadmissionpolicybindings", ("get", "create", "patch")),
    # kopf discovers the served kinds and the namespaces
    Rule("apiextensions.k8s.io", "customresourcedefinitions", READ),
    Rule("", "namespaces", ("list", "watch")),
    Rule("", "events", EVENTS),
    Rule("events.k8s.io", "events", EVENTS),
    # a node's Job and its request, which may hold secrets; Secrets that NodePools name
    Rule("batch", "jobs", (*READ, "create", "delete"), own=True),
    Rule("", "secrets", ("get", "list", "create", "patch", "delete"), own=True),
    # the history of each NodePool; configurations in Secrets
    Rule("apps", "controllerrevisions", ("get", "list", "create", "patch", "delete"), own=True),
    # a gate's Job is created from one
    Rule("batch", "cronjobs", ("get",), own=True),
    # whether workloads have Ready pods again after an upgrade
    *(
        Rule("apps", resource, ("get",))
        for resource in ("daemonsets", "deployments", "replicasets", "statefulsets")
    ),
    # a second replica if there is room for one
    Rule("apps", "deployments/scale", ("patch",), own=True),
    # one of the replicas leads
    Rule("coordination.k8s.io", "leases", ("get", "create", "update"), own=True),
)


def tag(version: str) -> str:
    """A version as an image tag and as a label value: neither allows `+`."""
    from k3os.phases.k3s import label_value

    return label_value(version)


def image_name(version: str) -> str:
    """The image's name in its archive. Pods do not use it."""
    return f"{REPOSITORY}:{tag(version)}"


def as_yaml(build: Build) -> str:
    """All objects as one YAML text."""
    head = f"# The operator of k3OS {build.version}. Written by k3os"
    head += "" if build.is_pulled else "; off: k3os.operator: false"
    return f"{head}\n{yaml_of(manifests(build))}"


def yaml_of(objects: Iterable[Mapping[str, Any]]) -> str:
    """Objects as one YAML text."""
    import yaml

    class Plain(yaml.SafeDumper):
        """Repeats equal parts: anchors are hard to read."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    return str(yaml.dump_all(objects, Dumper=Plain, sort_keys=False, width=100))


def manifests(build: Build) -> list[dict[str, Any]]:
    """The objects, in the order in which they must be created."""
    found = [
        namespace(),
        crd.definition(),
        _account(NAME, mounts_token=True),
        # of the Jobs on the nodes: root on their node, no permissions in the cluster
        _account(NODE_ACCOUNT, mounts_token=False),
        *_role("ClusterRole", [rule for rule in RULES if not rule.own]),
        *_role("Role", [rule for rule in RULES if rule.own]),
        deployment(build),
        _object("policy/v1", "PodDisruptionBudget", {"spec": {"maxUnavailable": 1, **_selector()}}),
        service(),
        network_policy(),
    ]
    if build.is_pulled:
        for each in found:
            if each["kind"] in KEPT:
                each["metadata"].setdefault("annotations", {}).update(KEEP)
    return found


def _object(api: str, kind: str, more: dict[str, Any], name: str = NAME) -> dict[str, Any]:
    meta = {"name": name, "namespace": names.NAMESPACE, "labels": dict(LABELS)}
    return {"apiVersion": api, "kind": kind, "metadata": meta, **more}


def _selector() -> dict[str, Any]:
    return {"selector": {"matchLabels": {NAME_LABEL: NAME}}}


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


def deployment(build: Build) -> dict[str, Any]:
    """One replica leads, another takes over; each on a node that has the image. The number of
    replicas is left out on purpose: it starts as 1, then the leader scales it, and k3s, which
    applies this at each start, leaves alone what is not in it."""
    spec = {
        "revisionHistoryLimit": 2,
        **_selector(),
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1},
        },
        "template": {"metadata": {"labels": dict(LABELS)}, "spec": _pod(build)},
    }
    return _object("apps/v1", "Deployment", {"spec": spec})


# Also on cordoned nodes: the operator itself drains them, maybe the one it runs on.
TOLERATIONS = (
    {"key": "CriticalAddonsOnly", "operator": "Exists"},
    {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node-role.kubernetes.io/master", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node-role.kubernetes.io/etcd", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"},
)


def _pod(build: Build) -> dict[str, Any]:
    # the node must have the image, and of this version
    has_image = {
        "matchExpressions": [
            {"key": names.VERSION_LABEL, "operator": "In", "values": [tag(build.version)]},
            # not where the image was left out for lack of space (k3os.phases.operator)
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
    near: dict[str, Any] = {"nodeAffinity": {required: {"nodeSelectorTerms": [has_image]}}}
    secrets = [{"name": each} for each in build.secrets]
    return {
        "serviceAccountName": NAME,
        # allowed outside of kube-system since Kubernetes 1.17
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux", ARCH_LABEL: build.arch},
        "affinity": {
            **({} if build.is_pulled else near),
            "podAntiAffinity": {preferred: [elsewhere]},
        },
        "tolerations": [dict(each) for each in TOLERATIONS],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": OPERATOR_UID,
            "runAsGroup": OPERATOR_UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"imagePullSecrets": secrets} if secrets else {}),
        "containers": [_container(build)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
    }


def _container(build: Build) -> dict[str, Any]:
    facts = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "NODE_NAME": "spec.nodeName",
    }
    return {
        "name": CONTAINER,
        "image": build.image,
        "imagePullPolicy": PULL if build.is_pulled else NEVER,
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
    """Where the metrics are, for a Prometheus that uses annotations."""
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
    """Ingress: metrics, for pods of namespaces with a label (every network plugin lets the
    kubelet's probes in). They need no token: that would take permission to review tokens, and TLS,
    for numbers and names of NodePools. Egress: the API server, channels, DNS. Any TCP port, since a
    policy sees the node's port behind the API server's address, k3s' `https-listen-port`."""
    spec = {
        "podSelector": _selector()["selector"],
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"namespaceSelector": {"matchLabels": dict(MAY_SCRAPE)}}],
                "ports": [{"protocol": "TCP", "port": PORT}],
            }
        ],
        "egress": [{"ports": [{"protocol": "TCP"}, {"protocol": "UDP", "port": 53}]}],
    }
    return _object("networking.k8s.io/v1", "NetworkPolicy", {"spec": spec})
