"""The operator's own identity in a real cluster: a service account with the rights in
operator/manifests.py, and no others. Its token comes from the API server, as a kubelet would
request it (kubernetes.io, "TokenRequest").

The objects have different names from those of an installed operator, which stay untouched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lightkube.generic_resource import create_global_resource, create_namespaced_resource

from k3os import names
from k3os.operator import manifests
from tests.operator.agent import LABEL
from tests.operator.world import ServiceAccount

NAME = f"{manifests.NAME}-under-test"
SECONDS = 86400  # lifetime of its token
BUILD = manifests.Build("v0.0.0", f"sha256:{'0' * 64}", "amd64")
GROUP = "rbac.authorization.k8s.io"
KINDS: dict[str, Any] = {
    "ServiceAccount": ServiceAccount,
    "ClusterRole": create_global_resource(GROUP, "v1", "ClusterRole", "clusterroles"),
    "ClusterRoleBinding": create_global_resource(
        GROUP, "v1", "ClusterRoleBinding", "clusterrolebindings"
    ),
    "Role": create_namespaced_resource(GROUP, "v1", "Role", "roles"),
    "RoleBinding": create_namespaced_resource(GROUP, "v1", "RoleBinding", "rolebindings"),
}


def objects() -> list[tuple[Any, dict[str, Any]]]:
    """Kind and body, in the order in which they are created."""
    found = []
    for body in manifests.manifests(BUILD):
        if body["kind"] in KINDS and body["metadata"]["name"] == manifests.NAME:
            body["metadata"] |= {"name": NAME, "labels": {LABEL: "true"}}
            for each in (*body.get("subjects", ()), *filter(None, [body.get("roleRef")])):
                each["name"] = NAME
            found.append((KINDS[body["kind"]], body))
    return found


def kubeconfig(client: Any, admin: str, path: Path) -> Path:
    """Write a kubeconfig to path: the same cluster as in the kubeconfig admin, with this
    account."""
    where = f"/api/v1/namespaces/{names.NAMESPACE}/serviceaccounts/{NAME}/token"
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    body = {**wanted, "spec": {"expirationSeconds": SECONDS}}
    answer = client._client._client.post(where, json=body)
    answer.raise_for_status()
    config = yaml.safe_load(Path(admin).read_text())
    current = config["current-context"]
    (context,) = (each["context"] for each in config["contexts"] if each["name"] == current)
    user = {"name": NAME, "user": {"token": answer.json()["status"]["token"]}}
    context = {"name": NAME, "context": {**context, "user": NAME}}
    config |= {"users": [user], "contexts": [context], "current-context": NAME}
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path
