"""`k3os config diff`: what a file would change on a node, and when it would take effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from k3os.cli import config as command
from k3os.config.dump import MASK

OWN = "var/lib/rancher/k3os/config.yaml"
FRAGMENT = "var/lib/rancher/k3os/config.d/50-more.yaml"


class Node:
    """A node's files below root; diff: exit code, lines on stdout, lines on stderr."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root / "node"
        self.new = root / "new.yaml"
        self.capsys = capsys
        self.write("k3os/system/config.yaml", "hostname: medium\n")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def diff(self, text: str, *options: str) -> tuple[int, list[str], list[str]]:
        self.new.write_text(text)
        sources = ["--root", str(self.root), "--system", "/k3os/system", "--cmdline", ""]
        code = command.main(["diff", str(self.new), *sources, *options])
        said = self.capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()


@pytest.fixture
def node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(tmp_path, capsys)


def test_each_key_says_from_what_to_what_and_when_it_counts(node: Node) -> None:
    node.write(OWN, "hostname: own\nk3os: {k3s_args: [server], modules: [nbd]}\n")
    code, said, errors = node.diff(
        "hostname: new\nk3os: {k3s_args: [server, --disable=traefik], modules: [nbd]}\n"
        "boot_cmd: [date]\n"
    )
    assert (code, errors) == (0, [])
    assert said == [
        "hostname: at once",
        "  - own",
        "  + new",
        "boot_cmd: at the next boot",
        "  + - date",
        "k3os.k3s_args: when k3s restarts: `sudo k3os config --restart`; pods keep running",
        "    - server",
        '  + - "--disable=traefik"',
    ]


def test_what_the_file_leaves_out_comes_from_a_weaker_one_again(node: Node) -> None:
    node.write(OWN, "hostname: own\n")
    assert node.diff("k3os: {}\n")[1] == ["hostname: at once", "  - own", "  + medium"]


def test_what_a_stronger_file_sets_stays(node: Node) -> None:
    node.write(FRAGMENT, "hostname: fragment\n")
    assert node.diff("hostname: new\n")[:2] == (0, ["nothing changes"])


def test_it_can_take_the_place_of_another_file(node: Node) -> None:
    node.write(OWN, "hostname: own\n")
    node.write(FRAGMENT, "hostname: fragment\n")
    said = node.diff("{}\n", "--as", f"/{FRAGMENT}")[1]
    assert said == ["hostname: at once", "  - fragment", "  + own"]
    said = node.diff("hostname: later\n", "--as", f"/{Path(FRAGMENT).parent}/60-new.yaml")[1]
    assert said == ["hostname: at once", "  - fragment", "  + later"]


@pytest.mark.parametrize("place", ["/etc/config.yaml", "config.yaml", f"/{OWN}x", "/a/../b"])
def test_a_place_that_no_node_reads_is_refused(node: Node, place: str) -> None:
    with pytest.raises(Exception, match="--as"):
        node.diff("hostname: a\n", "--as", place)


def test_secrets_are_never_shown_and_a_change_of_one_is_said(node: Node) -> None:
    node.write(OWN, "k3os: {token: the-old-secret, k3s_args: [agent, --token=its-old-one]}\n")
    _, said, _ = node.diff("k3os: {token: the-new-secret, k3s_args: [agent, --token=its-new]}\n")
    assert [line.partition(":")[0] for line in said[::2]] == ["k3os.token", "k3os.k3s_args"]
    assert said[1::2] == ["    (a secret: another one)"] * 2
    said = node.diff("k3os: {token: a-new-secret, k3s_args: [server]}\n")[1]
    assert f'  - - "--token={MASK}"' in said
    assert "its-old-one" not in "".join(said)


def test_a_file_of_k3s_among_write_files_wants_a_restart(node: Node) -> None:
    entry = "write_files: [{{path: {}, content: a}}]\n"
    plain = node.diff(entry.format("/etc/motd"))[1][0]
    assert plain == "write_files: at once"
    first = node.diff(entry.format("/etc/rancher/k3s/registries.yaml"))[1][0]
    assert first.startswith("write_files: when k3s restarts")


def test_errors_are_told_and_the_rest_is_compared(node: Node) -> None:
    node.write(FRAGMENT, "k3os: {nonsense: 1}\n")
    code, said, errors = node.diff("hostname: new\nk3os: {sysctls: 5}\n")
    assert code == 1
    assert said == ["hostname: at once", "  - medium", "  + new"]
    assert [line.partition(":")[0] for line in errors] == [str(node.new)], "no old warning"
    # errors of other files, too, because the comparison lacks their values
    node.write(FRAGMENT, "k3os: {modules: {a: b}}\n")
    code, _, errors = node.diff("hostname: new\n")
    assert code == 1
    assert [line.partition(":")[0] for line in errors] == [f"/{FRAGMENT}"]


def test_a_file_that_is_not_there_is_an_error(node: Node) -> None:
    with pytest.raises(Exception, match="no such file"):
        command.main(["diff", str(node.root / "none.yaml"), "--root", str(node.root)])


def test_a_contradiction_that_only_both_together_make_is_told(node: Node) -> None:
    file = "/etc/rancher/k3s/registries.yaml"
    node.write(FRAGMENT, f"write_files: [{{path: {file}, content: 'mirrors: {{}}'}}]\n")
    assert node.diff("{}\n")[2] == []
    _, _, told = node.diff(
        "k3os: {registries: {mirrors: {docker.io: {endpoint: ['https://m']}}}}\n"
    )
    assert "instead of what k3os.registries says" in "".join(told)
