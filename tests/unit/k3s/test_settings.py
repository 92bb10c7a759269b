"""k3s' settings, merged from files and arguments as k3s does."""

from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.k3s import settings


def write(root: Path, name: str, text: str) -> None:
    path = root / "etc/rancher/k3s" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def read(root: Path, *arguments: str, **environment: str) -> settings.Settings:
    return settings.read(["server", *arguments], environment, root=str(root))


def test_the_last_file_wins_and_a_plus_appends(tmp_path):
    write(tmp_path, "config.yaml", "data-dir: /a\nnode-label: [x=1]\nwrite-kubeconfig-mode: 0640\n")
    write(tmp_path, "config.yaml.d/20.yaml", "node-label+: y=2\n")
    write(tmp_path, "config.yaml.d/10.yml", "data-dir: /b\n")
    write(tmp_path, "config.yaml.d/30.txt", "data-dir: /c\n")
    found = read(tmp_path)
    assert settings.data_directory(found) == "/b"
    assert found["node-label"] == ["x=1", "y=2"]
    assert found["write-kubeconfig-mode"] == ["0640"]


@pytest.mark.parametrize(
    "words", [("-d", "/a/"), ("--data-dir=/a",), ("--debug", "--data-dir", "/a")]
)
def test_arguments_win_over_files_in_every_spelling(tmp_path, words):
    write(tmp_path, "config.yaml", "data-dir: /b\n")
    assert settings.data_directory(read(tmp_path, *words)) == "/a"


def test_the_environment_loses_to_both(tmp_path):
    assert settings.last(read(tmp_path, K3S_NODE_NAME="e"), "node-name") == "e"
    write(tmp_path, "config.yaml", "node-name: f\n")
    assert settings.last(read(tmp_path, K3S_NODE_NAME="e"), "node-name") == "f"


def test_another_file_can_be_named(tmp_path):
    write(tmp_path, "other.yaml", "data-dir: /o\n")
    place = "/etc/rancher/k3s/other.yaml"
    assert settings.data_directory(read(tmp_path, "-c", place)) == "/o"
    assert settings.data_directory(read(tmp_path, K3S_CONFIG_FILE=place)) == "/o"
    assert settings.data_directory(read(tmp_path)) == "/var/lib/rancher/k3s"


def test_arguments_add_to_the_lists_of_files(tmp_path):
    """k3s reads a file's settings as arguments that come before those of its command line."""
    write(tmp_path, "config.yaml", "kubelet-arg: [healthz-port=0]\n")
    found = read(tmp_path, "--kubelet-arg=max-pods=5", "--kubelet-arg", "v=2")
    assert found["kubelet-arg"] == ["healthz-port=0", "max-pods=5", "v=2"]


@pytest.mark.parametrize("text", ["yes", "On", "y", "True", "TRUE"])
def test_a_switch_is_on_as_yaml_of_k3s_has_it(tmp_path, text):
    write(tmp_path, "config.yaml", f"disable-agent: {text}\n")
    assert settings.is_true(read(tmp_path), "disable-agent")


def test_where_a_server_writes_its_kubeconfig_may_come_from_a_variable(tmp_path):
    found = read(tmp_path, K3S_KUBECONFIG_OUTPUT="/mine")
    assert settings.last(found, "write-kubeconfig") == "/mine"


@pytest.mark.parametrize("text", ["true", "1", "T"])
def test_a_switch_is_on_as_k3s_has_it(tmp_path, text):
    assert settings.is_true(read(tmp_path, f"--etcd-s3={text}"), "etcd-s3")
    assert settings.is_true(read(tmp_path, "--etcd-s3", "--debug"), "etcd-s3")
    assert not settings.is_true(read(tmp_path, "--etcd-s3=false"), "etcd-s3")


@pytest.mark.parametrize("text", ["token: 'secret\n", "- secret\n", b"token: \xff secret\n"])
def test_a_file_that_k3s_cannot_read_is_told_without_its_text(tmp_path, text):
    write(tmp_path, "config.yaml", "")
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "etc/rancher/k3s/config.yaml").write_bytes(data)
    with pytest.raises(UserError, match=r"config\.yaml") as caught:
        read(tmp_path)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
