"""k3os.manifests: what k3s would create, and what is said about the rest."""

import json

import pytest

from k3os.config.check import check_data, check_text
from k3os.config.dump import dump_yaml
from k3os.config.load import Config
from k3os.config.value import plain

ONE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"
KEY = "k3os.manifests"
HEX = "0123456789abcdef" * 4


def checked(entries):
    text = json.dumps({"k3os": {"manifests": entries}})
    values, problems = check_text(text.encode(), "config.yaml")
    value = values.get(KEY)
    return plain(value) if value is not None else None, [str(each) for each in problems]


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        f"---\n# two\n{ONE}---\n{ONE}---\n",
        "apiVersion: v1\nkind: List\nitems: []\n",
        json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: !!binary aGVsbG8=}\n",
        "https://server/nginx.yaml",
        f"http://server/nginx.yaml#sha256={HEX}",
        "/var/lib/mine/nginx.yaml",
    ],
)
def test_the_text_of_a_manifest_or_its_place(text):
    assert checked({"nginx": text}) == ({"nginx": text}, [])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.b", ONE, "`a.b` is not a valid AddOn name"),
        ("Nginx", ONE, "`Nginx` is not a valid AddOn name"),
        ("x" * 64, ONE, "is not a valid AddOn name"),
        ("traefik", ONE, "k3s has a manifest traefik of its own"),
        ("k3os-operator", ONE, "is written by k3OS itself"),
        ("n", "apiVersion: v1\nkind: a: b", "line 2 of it is not YAML"),
        ("n", f"{ONE}---\nkind: Pod\n", "what begins in line 5 of it is not an object: it has no"),
        ("n", f"{ONE}---\n- {{}}\n", "what begins in line 5 of it is not an object"),
        ("n", "apiVersion: v1\nkind: Pod\n", "the Pod that begins in line 1 of it has no name"),
        ("n", "# nothing\n---\n", "has no object in it"),
        ("n", {"apiVersion": "v1"}, "write `|` behind the name"),
        ("n", "http://server/nginx.yaml", "comes over plain http without a SHA-256"),
        ("n", "nginx", "is not an object"),
    ],
)
def test_what_k3s_would_not_take_is_left_out_and_the_others_count(name, text, words):
    found, problems = checked({"right": ONE, name: text})
    assert found == {"right": ONE}
    assert len(problems) == 1
    assert words in problems[0]
    assert problems[0].startswith("config.yaml:1:")
    assert f"k3os.manifests.{name}: " in problems[0]


def test_the_name_may_have_the_ending_that_its_file_gets():
    assert checked({"nginx.yaml": ONE, "other.yml": ONE})[0] == {"nginx": ONE, "other": ONE}


def test_a_secret_in_a_manifest_is_not_shown():
    text = json.dumps({"k3os": {"manifests": {"s": f"{ONE}stringData: {{a: hidden-word}}\n"}}})
    config = Config(check_text(text.encode(), "config.yaml")[0])
    assert "hidden-word" not in dump_yaml(config)
    assert "hidden-word" in dump_yaml(config, show_secrets=True)


def test_the_same_file_by_write_files_is_a_warning():
    path = "/var/lib/rancher/k3s/server/manifests/nginx.yaml"
    text = json.dumps(
        {
            "write_files": [{"path": path, "content": ONE}],
            "k3os": {"manifests": {"nginx": ONE}},
        }
    )
    found = [str(each) for each in check_data(text.encode(), "config.yaml")]
    assert any("is written instead of what k3os.manifests.nginx says" in each for each in found)


@pytest.mark.parametrize("name", ["nginx.yml", "nginx.json", "nginx.mine.yaml", "nginx/x.yaml"])
def test_another_file_of_the_same_addon_is_a_warning(name):
    """When one of them goes, k3s deletes what the other has created."""
    files = [{"path": f"/var/lib/rancher/k3s/server/manifests/{name}", "content": ONE}]
    text = json.dumps({"write_files": files, "k3os": {"manifests": {"nginx": ONE}}})
    found = [str(each) for each in check_data(text.encode(), "config.yaml")]
    words = "is the same AddOn to k3s as k3os.manifests.nginx"
    assert [words in each for each in found if "AddOn" in each] == [True]


def test_a_template_in_an_object_is_the_objects_own():
    text = f"{ONE}data: {{a: '{{{{ .Values.b }}}} <name>'}}\n"
    found = check_data(json.dumps({"k3os": {"manifests": {"n": text}}}).encode(), "c.yaml")
    assert [str(each) for each in found] == []
