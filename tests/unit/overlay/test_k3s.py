"""/usr/sbin/k3s, kubectl, crictl and ctr: which configuration of k3s they read.

Root may read everything, so tests that run as root call it as nobody.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3os.system.run import run

WRAPPER = Path(__file__).parents[3] / "overlay/rootfs/usr/sbin/k3s"
# reads its configuration first, then shows how it was called
K3S = """\
#!/bin/sh
configuration=${K3S_CONFIG_FILE:-ETC/config.yaml}
[ -z "${K3S_CONFIG_FILE:-}" ] || [ -e "$configuration" ] || exit 3
cat "$configuration" ETC/config.yaml.d/* >/dev/null 2>&1
echo "${0##*/} $* ${K3S_CONFIG_FILE:-own}"
"""


class Node:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc = root / "etc"
        (self.etc / "config.yaml.d").mkdir(parents=True)
        self.file("config.yaml", 0o644)
        self.k3s = root / "run/k3s"
        self.k3s.parent.mkdir()
        self.k3s.write_text(K3S.replace("ETC", str(self.etc)))
        self.k3s.chmod(0o755)
        (root / "empty.yaml").write_text("{}\n")
        text = WRAPPER.read_text()
        for old, new in [
            ("/run/k3os/k3s", self.k3s),
            ("/etc/rancher/k3s", self.etc),
            ("/usr/lib/k3os/no-k3s-config.yaml", root / "empty.yaml"),
        ]:
            assert text.count(old) == 1
            text = text.replace(old, str(new))
        wrapper = root / "k3s"
        wrapper.write_text(text)
        wrapper.chmod(0o755)
        for name in ("kubectl", "crictl", "ctr"):
            (root / name).symlink_to("k3s")
        root.chmod(0o755)

    def file(self, name: str, mode: int) -> None:
        path = self.etc / name
        path.write_text("disable: traefik\n")
        path.chmod(mode)

    def call(self, *words: str, **variables: str) -> tuple[int, str]:
        other = ["setpriv", "--reuid=65534", "--clear-groups"] if os.getuid() == 0 else []
        name, *rest = words
        command = f'"{self.root}/{name}" "$@"; echo "code $?"'
        output = run([*other, "sh", "-c", command, "sh", *rest], env={**variables}, cwd="/")
        *lines, code = output.decode().splitlines()
        return int(code.removeprefix("code ")), "\n".join(lines)


@pytest.fixture
def node() -> Iterator[Node]:
    """Not in pytest's directories, which only their user may read: each session sets their mode
    again."""
    with tempfile.TemporaryDirectory(prefix="k3os-wrapper.") as directory:
        yield Node(Path(directory))


TOOLS = ["kubectl", "crictl", "ctr"]


@pytest.mark.parametrize("tool", TOOLS)
def test_each_tool_is_a_command_of_k3s(node: Node, tool: str) -> None:
    assert node.call(tool, "get", "a b") == (0, f"k3s {tool} get a b own")
    assert node.call("k3s", tool, "--", "-c", "x") == (0, f"k3s {tool} -- -c x own")
    assert node.call("k3s") == (0, "k3s  own")


@pytest.mark.parametrize(
    "words", [*([tool] for tool in TOOLS), ["k3s", "kubectl"], ["k3s", "--version"]]
)
@pytest.mark.parametrize("closed", ["config.yaml", "config.yaml.d/mine.yaml", "config.yaml.d", ""])
def test_whom_the_configuration_is_closed_to_gets_an_empty_one(
    node: Node, words: list[str], closed: str
) -> None:
    if closed.endswith(".yaml"):
        node.file(closed, 0o000)
    else:
        (node.etc / closed).chmod(0o000)
    code, said = node.call(*words)
    (node.etc / closed).chmod(0o755)
    assert (code, said.split()[-1]) == (0, f"{node.root}/empty.yaml")


def test_a_configuration_that_was_named_is_the_one(node: Node) -> None:
    node.file("config.yaml", 0o000)
    mine = str(node.etc / "config.yaml.d")
    assert node.call("kubectl", K3S_CONFIG_FILE=mine) == (0, f"k3s kubectl {mine}")


@pytest.mark.parametrize("command", ["kubectl", "etcd-snapshot"])
def test_one_that_was_named_and_is_closed_is_for_those_alone_who_need_it(
    node: Node, command: str
) -> None:
    """k3os.environment may name it, and every login has that."""
    node.file("mine.yaml", 0o000)
    mine = str(node.etc / "mine.yaml")
    wanted = mine if command == "etcd-snapshot" else f"{node.root}/empty.yaml"
    assert node.call("k3s", command, K3S_CONFIG_FILE=mine) == (0, f"k3s {command} {wanted}")


@pytest.mark.parametrize("command", ["server", "agent"])
def test_k3s_itself_never_runs_with_the_empty_one(node: Node, command: str) -> None:
    node.file("config.yaml", 0o000)
    assert node.call("k3s", command, "--debug") == (0, f"k3s {command} --debug own")


def test_without_k3s_it_says_where_to_look(node: Node) -> None:
    node.k3s.unlink()
    code, said = node.call("kubectl", "get", "nodes")
    assert (code, said) == (127, "kubectl: k3s is not there yet; `k3os status` says why")


SNAPSHOT = ("k3s", "etcd-snapshot", "save", "--name", "a")


@pytest.mark.parametrize(
    ("version", "configuration"),
    [
        *[(each, "empty") for each in ("v1.19.16+k3s1", "v1.20.15+k3s1", "v1.21.6+k3s1")],
        *[(each, "empty") for each in ("v1.22.0-rc1+k3s1", "v1.22.3+k3s1")],
        *[(each, "own") for each in ("v1.21.7+k3s1", "v1.21.14+k3s1", "v1.22.4+k3s1")],
        *[(each, "own") for each in ("v1.22.10+k3s1", "v1.23.0+k3s1", "v1.33.1+k3s1")],
    ],
)
def test_a_version_that_ends_at_a_key_of_the_server_takes_a_snapshot_without_its_configuration(
    node: Node, version: str, configuration: str
) -> None:
    answer = f'[ "$1" != --version ] || exec echo "k3s version {version} (0123abcd)"'
    lines = node.k3s.read_text().split("\n")
    node.k3s.write_text("\n".join([lines[0], answer, *lines[1:]]))
    empty = str(node.root / "empty.yaml")
    used = empty if configuration == "empty" else "own"
    assert node.call(*SNAPSHOT) == (0, f"k3s etcd-snapshot save --name a {used}")
    own = str(node.root / "mine.yaml")
    (node.root / "mine.yaml").touch()
    assert node.call(*SNAPSHOT, K3S_CONFIG_FILE=own) == (0, f"k3s {' '.join(SNAPSHOT[1:])} {own}")
    (node.etc / "config.yaml").write_text("etcd-snapshot-dir: /elsewhere\n")
    code, said = node.call(*SNAPSHOT)
    assert code == 0
    assert ("as options" in said) == (configuration == "empty")
