"""The k3s stub reads files like the real one. Source: pkg/deploy/controller.go,
pkg/agent/containerd, wharfie's registries."""

import json

ONE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"


def test_registries_are_read_once_at_the_start(new):
    path = new.root / "etc/rancher/k3s/registries.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mirrors: {docker.io: {endpoint: [https://a]}}\n")
    new.start("server")
    found = json.loads((new.root / "run/k3s-stub/registries").read_text())
    assert found == {"mirrors": {"docker.io": {"endpoint": ["https://a"]}}}


def test_a_manifest_is_called_after_its_file_up_to_the_first_dot(new):
    directory = new.root / "var/lib/rancher/k3s/server/manifests"
    directory.mkdir(parents=True)
    for name in ("one.more.yaml", "two.json", ".hidden.yaml", "three.yaml.skip"):
        (directory / name).write_text(ONE)
    (directory / "wrong.yaml").write_text("kind: [")
    said = new.start("server")
    assert "Failed to process config" in said
    assert (new.root / "run/k3s-stub/addons").read_text().splitlines() == [
        "one Namespace/a",
        "two Namespace/a",
    ]
