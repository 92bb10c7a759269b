"""`k3os operator`: what works without a cluster."""

import pytest
import yaml

from k3os.cli.main import main


def test_its_objects_are_printed_as_yaml(capsys) -> None:
    assert main(["operator", "manifests", f"sha256:{'0' * 64}", "amd64"]) == 0
    kinds = [each["kind"] for each in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds[0] == "Namespace"
    assert "Deployment" in kinds


def test_a_reference_makes_pods_that_pull_it(capsys) -> None:
    argv = ["operator", "manifests", "r.example/op:1", "arm64", "--pull-secret", "registry"]
    assert main(argv) == 0
    (found,) = (
        each["spec"]["template"]["spec"]
        for each in yaml.safe_load_all(capsys.readouterr().out)
        if each["kind"] == "Deployment"
    )
    assert found["containers"][0]["image"] == "r.example/op:1"
    assert found["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert found["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize(
    "argv",
    [
        ["manifests", f"sha256:{'0' * 64}", "amd64", "--pull-secret", "x"],
        [],
        ["dance"],
        ["manifests"],
        ["run", "--port"],
        ["run", "--port", "x"],
        ["run", "--colour", "red"],
    ],
)
def test_wrong_usage_is_told(argv: list[str], capsys) -> None:
    assert main(["operator", *argv]) == 2
    assert "`k3os operator --help` explains it" in capsys.readouterr().err


def test_without_a_cluster_it_says_what_is_missing(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(["operator", "run", "--port", "0"]) == 1
    error = capsys.readouterr().err
    assert "no cluster is configured" in error
    assert "KUBECONFIG" in error
