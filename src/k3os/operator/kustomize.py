"""The operator as a kustomize base, for clusters whose nodes do not have its image.

Pure: the objects of manifests.py, in two files, so that one can be deleted without the other.
Format: kubectl.docs.kubernetes.io, "The Kustomization File".
"""

from __future__ import annotations

from typing import Any

from k3os.operator.manifests import KEPT, NAME, Build, image_name, manifests, yaml_of

KUSTOMIZATION, KEPT_FILE, OPERATOR_FILE = "kustomization.yaml", "kept.yaml", "operator.yaml"
HEADS = {
    KUSTOMIZATION: "a base: an overlay's `images` says where its image is",
    KEPT_FILE: "what NodePools need to be there; it stays when the operator goes",
    OPERATOR_FILE: "itself; `kubectl delete -f` of this file leaves the NodePools alone",
}


def build_for(version: str, arch: str) -> Build:
    """With the image's name in its archive, which works where the archive was imported on each
    node; an overlay replaces it with another."""
    return Build(version, image_name(version), arch)


def base(build: Build) -> dict[str, str]:
    """Path to text."""
    texts = {
        KUSTOMIZATION: yaml_of([kustomization()]),
        **{name: yaml_of(objects) for name, objects in files(build).items()},
    }
    return {
        f"{NAME}/{name}": f"# The operator of k3OS {build.version}: {HEADS[name]}.\n{text}"
        for name, text in texts.items()
    }


def files(build: Build) -> dict[str, list[dict[str, Any]]]:
    """The objects, by file."""
    found: dict[str, list[dict[str, Any]]] = {KEPT_FILE: [], OPERATOR_FILE: []}
    for each in manifests(build):
        found[KEPT_FILE if each["kind"] in KEPT else OPERATOR_FILE].append(each)
    return found


def kustomization() -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [KEPT_FILE, OPERATOR_FILE],
    }
