"""nodepool-rbac.yaml grants only what it says, and none of our roles grants more."""

from pathlib import Path
from typing import Any

import yaml

from k3os import names
from k3os.operator.manifests import Build, manifests

SAMPLE = Path(__file__).parents[3] / "docs/reference/nodepool-rbac.yaml"
LOOKING = {"get", "list", "watch"}
ALL = LOOKING | {"create", "update", "patch", "delete"}


def objects(kind: str) -> dict[str, Any]:
    found = [each for each in yaml.safe_load_all(SAMPLE.read_text()) if each["kind"] == kind]
    return {each["metadata"]["name"]: each for each in found}


def test_its_roles_are_about_nodepools_alone_and_one_of_them_only_looks() -> None:
    roles = objects("ClusterRole")
    granted = {}
    for name, role in roles.items():
        (rule,) = role["rules"]
        assert (rule["apiGroups"], rule["resources"]) == ([names.GROUP], [names.PLURAL])
        assert rule.keys() == {"apiGroups", "resources", "verbs"}
        assert "*" not in rule["verbs"]
        # aggregated into edit or admin, it would make every owner of a namespace root on nodes
        assert not role["metadata"].get("labels")
        granted[name] = set(rule["verbs"])
    assert granted == {"k3os-nodepool-viewer": LOOKING, "k3os-nodepool-admin": ALL}


def test_each_role_is_bound_to_a_group_that_somebody_has_to_make() -> None:
    bindings = objects("ClusterRoleBinding")
    assert {each["roleRef"]["name"] for each in bindings.values()} == set(objects("ClusterRole"))
    for each in bindings.values():
        (subject,) = each["subjects"]
        assert subject["kind"] == "Group"
        assert not subject["name"].startswith("system:"), "everybody, or every pod"


def test_nothing_that_k3os_installs_lets_anybody_but_the_operator_write_nodepools() -> None:
    for each in manifests(Build("v1", "sha256:5", "amd64")):
        if each["kind"] in ("ClusterRoleBinding", "RoleBinding"):
            assert [subject["name"] for subject in each["subjects"]] == ["k3os-operator"]
        labels = each["metadata"].get("labels") or {}
        assert not [name for name in labels if name.startswith("rbac.authorization.k8s.io/")]
