"""Installing the operator on nodes without its image: one set of objects in three forms.

Uses kubectl's own kustomize if available; a stub replaces Helm and renders the chart.
"""

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from k3os.cluster.pulled_image import Pulled, pulled_image
from k3os.image.operator import packed
from k3os.operator import chart as chart_module
from k3os.operator import crd
from k3os.operator.chart import chart, escaped, templates, version_of
from k3os.operator.kustomize import base, build_for
from k3os.operator.manifests import KEEP, Build, as_yaml, manifests
from tests.stubs.helm_template import rendered, template

VERSION = "v1.2.0+k3s1"
BUILD = build_for(VERSION, "arm64")
ON_NODES = Build(VERSION, f"sha256:{'5' * 64}", "arm64")
DIGEST = f"sha256:{'7' * 64}"
CHART = chart(BUILD, DIGEST)
BASE = base(BUILD)


def by_name(objects: list[Any]) -> dict[tuple[str, str], Any]:
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(found) == len(objects)
    return found


def of_base() -> list[Any]:
    """The objects in the files that kustomization.yaml lists."""
    listed = yaml.safe_load(BASE["k3os-operator/kustomization.yaml"])["resources"]
    texts = (BASE[f"k3os-operator/{name}"] for name in listed)
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def pod(objects: list[Any]) -> Any:
    (found,) = (each for each in objects if each["kind"] == "Deployment")
    return found["spec"]["template"]["spec"]


def image(objects: list[Any]) -> str:
    return str(pod(objects)["containers"][0]["image"])


def test_the_chart_the_base_and_the_command_give_the_same_objects() -> None:
    assert by_name(of_base()) == by_name(manifests(BUILD))
    assert by_name(rendered(CHART)) == by_name(manifests(BUILD))
    assert by_name(list(yaml.safe_load_all(as_yaml(BUILD)))) == by_name(manifests(BUILD))


def test_they_are_those_that_k3s_applies_but_for_where_the_image_comes_from() -> None:
    pulled, there = by_name(manifests(BUILD)), by_name(manifests(ON_NODES))
    assert pulled.keys() == there.keys()
    differ = {kind for kind, name in pulled if pulled[kind, name] != there[kind, name]}
    assert differ == {"Namespace", "CustomResourceDefinition", "Deployment"}
    own, other = pod(list(pulled.values())), pod(list(there.values()))
    assert {name for name in own if own[name] != other[name]} == {"affinity", "containers"}
    (mine,), (its,) = own["containers"], other["containers"]
    assert {name for name in mine if mine[name] != its[name]} == {"image", "imagePullPolicy"}
    assert mine["imagePullPolicy"] == "IfNotPresent"
    # it may run on any node
    assert "nodeAffinity" not in own["affinity"]


@pytest.mark.parametrize("kind", ["Namespace", "CustomResourceDefinition"])
def test_what_nodepools_need_stays_when_the_operator_is_uninstalled(kind: str) -> None:
    (found,) = (each for each in rendered(CHART) if each["kind"] == kind)
    assert found["metadata"]["annotations"] == KEEP == {"helm.sh/resource-policy": "keep"}
    kinds = {each["kind"] for each in yaml.safe_load_all(BASE["k3os-operator/operator.yaml"])}
    assert kind not in kinds
    assert KEEP.keys().isdisjoint(crd.definition()["metadata"].get("annotations", {}))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "k3os.invalid/k3os-operator:v1.2.0-k3s1"),
        ({"repository": "r.example:5000/a/b"}, "r.example:5000/a/b:v1.2.0-k3s1"),
        ({"repository": "r.example/b", "tag": "mine"}, "r.example/b:mine"),
        ({"repository": "r.example/b", "digest": DIGEST}, f"r.example/b@{DIGEST}"),
    ],
)
def test_the_image_has_a_tag_or_a_digest(values: dict[str, str], expected: str) -> None:
    assert image(rendered(CHART, {"image": values})) == expected


VALUES = {
    "imagePullSecrets": [{"name": "registry"}, {"name": "other"}],
    "resources": {"requests": {"cpu": "1"}, "limits": {}},
    "nodeSelector": {"kubernetes.io/os": "linux", "tier": "infra"},
    "tolerations": [{"operator": "Exists"}],
}


def test_each_value_is_where_it_belongs() -> None:
    # Helm merges maps of values
    remove = {"kubernetes.io/arch": None}
    given = {**VALUES, "nodeSelector": {**VALUES["nodeSelector"], **remove}}  # type: ignore[dict-item]
    given["image"] = {"pullPolicy": "Always"}
    own = pod(rendered(CHART, given))
    for name in ("imagePullSecrets", "nodeSelector", "tolerations"):
        assert own[name] == VALUES[name]
    (container,) = own["containers"]
    assert container["imagePullPolicy"] == "Always"
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "64Mi"},
        "limits": {"memory": "256Mi"},
    }


def test_empty_values_leave_valid_yaml() -> None:
    own = pod(rendered(CHART, {"tolerations": [], "imagePullSecrets": []}))
    assert own["tolerations"] == []
    assert "imagePullSecrets" not in own


def test_the_values_are_those_that_the_schema_knows_and_each_is_used() -> None:
    values = yaml.safe_load(CHART["k3os-operator/values.yaml"])
    schema = json.loads(CHART["k3os-operator/values.schema.json"])
    assert values.keys() == schema["properties"].keys() - {"global"}
    assert values["image"].keys() == schema["properties"]["image"]["properties"].keys()
    texts = "".join(templates(BUILD).values())
    for name in [*values.keys() - {"image"}, *(f"image.{each}" for each in values["image"])]:
        assert f".Values.{name} " in texts, name
    assert "@@" not in texts


def test_the_digest_of_this_release_is_named_beside_its_value() -> None:
    assert f"  # {DIGEST}\n  digest: ''\n" in CHART["k3os-operator/values.yaml"]


def test_the_head_of_the_chart_is_what_helm_asks_for() -> None:
    head = yaml.safe_load(CHART["k3os-operator/Chart.yaml"])
    assert (head["apiVersion"], head["name"]) == ("v2", "k3os-operator")
    assert (head["version"], head["appVersion"]) == ("1.2.0+k3s1", VERSION)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("0.1.0", "0.1.0"), ("v1.2.0+k3s1", "1.2.0+k3s1"), ("1.0.0~beta.1", "1.0.0-beta.1")],
)
def test_a_version_is_one_of_a_chart(version: str, expected: str) -> None:
    assert version_of(version) == expected


@pytest.mark.parametrize("text", ["{{ .Values.x }}", "{{{{", "a {{ b"])
def test_text_that_looks_like_a_template_stays_as_it_is(text: str) -> None:
    assert template(escaped(text), {}) == text


def test_nothing_is_written_twice() -> None:
    """The templates and the base contain the rights, CRD and pod of manifests.py."""
    source = Path(chart_module.__file__).read_text()
    assert "apiGroups" not in source
    assert "verbs" not in source


def test_the_archives_are_the_same_each_time_and_hold_one_directory() -> None:
    assert packed(CHART, 7) == packed(CHART, 7)
    with tarfile.open(fileobj=io.BytesIO(packed(CHART, 7))) as tar:
        files = [each for each in tar if each.isfile()]
        assert {each.name for each in files} == CHART.keys()
        assert {each.mtime for each in tar} == {7}
        assert {(each.uid, each.gid, each.mode) for each in files} == {(0, 0, 0o644)}
        assert {each.name.partition("/")[0] for each in tar} == {"k3os-operator"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
def test_kubectl_makes_the_same_of_the_base_and_of_an_overlay_that_names_a_registry(
    tmp_path: Path,
) -> None:
    for path, text in BASE.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert by_name(kustomized(tmp_path / "k3os-operator")) == by_name(manifests(BUILD))
    overlay = {
        "resources": ["k3os-operator"],
        "images": [
            {"name": "k3os.invalid/k3os-operator", "newName": "r.example/op", "digest": DIGEST}
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    made = kustomized(tmp_path)
    assert image(made) == f"r.example/op@{DIGEST}"
    # only there: pods on nodes use the image of the operator's own pod
    assert "k3os.invalid" not in json.dumps(made)


def kustomized(directory: Path) -> list[Any]:
    command = ["kubectl", "kustomize", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


# the image of pods on nodes


def running(image: str, policy: str, *secrets: str, **more: Any) -> dict[str, Any]:
    """A pod of the operator, as in the API."""
    container = {"name": "operator", "image": image, "imagePullPolicy": policy}
    spec = {"containers": [{"name": "sidecar", "image": "x"}, container]}
    if secrets:
        spec["imagePullSecrets"] = [{"name": each} for each in secrets]
    return {"metadata": {}, "spec": spec, "status": {"phase": "Running"}} | more


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], None),
        ([running(f"sha256:{'0' * 64}", "Never")], None),
        ([running("r/a:1", "IfNotPresent")], Pulled("r/a:1", "IfNotPresent")),
        ([running("r/a:1", "Always", "x", "y")], Pulled("r/a:1", "Always", ("x", "y"))),
        # a new pod whose image cannot be pulled, an old one that terminates
        (
            [
                running("r/a:1", "IfNotPresent", metadata={"creationTimestamp": "2025"}),
                running(
                    *("r/typo:2", "IfNotPresent"),
                    metadata={"creationTimestamp": "2026"},
                    status={"phase": "Pending"},
                ),
                running(
                    *("r/old:0", "IfNotPresent"),
                    metadata={"creationTimestamp": "2027", "deletionTimestamp": "2027"},
                ),
            ],
            Pulled("r/a:1", "IfNotPresent"),
        ),
        ([{"metadata": 1, "spec": []}, {}], None),
        ([{"spec": {"containers": [{"name": "operator", "image": 7}]}}], None),
    ],
)
def test_the_image_of_the_operators_own_pod_is_what_nodes_can_pull(
    pods: list[Any], expected: Pulled | None
) -> None:
    assert pulled_image(pods) == expected
