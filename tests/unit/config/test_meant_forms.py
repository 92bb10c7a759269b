"""Values that look valid but mean something else: tokens, directories, several `name=value` in one
text, arguments of k3s in one text."""

import pytest

from k3os.config.advice import advice
from k3os.config.check import check_text
from k3os.config.migrate import migrate
from k3os.config.value import plain
from k3os.errors import UserError

HASH = "a1" * 32
SERVER = "https://s:6443"


def said(text: str) -> list[str]:
    values, problems = check_text(text.encode(), "c")
    return [str(each) for each in [*problems, *advice(values, "v1.33.1+k3s1")]]


TOKENS = {
    "cut off": "K10abc",
    "no hash": f"K10{HASH}",
    "a short hash": f"K10{HASH[:-1]}::server:hidden",
    "a hash of other signs": f"K10{'g' * 64}::server:hidden",
    "no password": f"K10{HASH}::server:",
    "no user": f"K10{HASH}::hidden",
    "one colon": f"K10{HASH}:server:hidden",
    "half a bootstrap token": f"K10{HASH}::abcdef.hidden",
}
PLACES = {
    "the key": ("k3os.token", f"k3os: {{server_url: '{SERVER}', token: '@'}}"),
    "an argument": ("k3os.k3s_args[1]", "k3os: {k3s_args: [server, '--token=@']}"),
    "two words": ("k3os.k3s_args[1]", "k3os: {k3s_args: [server, --agent-token, '@']}"),
    "a variable": ("k3os.environment.K3S_TOKEN", "k3os: {environment: {K3S_TOKEN: '@'}}"),
    "a file": (
        "write_files[0].content",
        "write_files: [{path: /etc/rancher/k3s/config.yaml, content: 'agent-token: \"@\"'}]",
    ),
}


@pytest.mark.parametrize("key,text", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_that_k3s_would_refuse_is_said_and_not_shown(
    token: str, key: str, text: str
) -> None:
    (line,) = said(text.replace("@", token))
    assert f": {key}: " in line
    assert "warning" not in line
    assert "begins like a full token" in line
    assert "hidden" not in line
    assert HASH[:8] not in line


RIGHT = (
    *(f"K10{HASH}::server:x:y", f"K10{HASH.upper()}::node:x", "K10::server:x", "secret"),
    *(f"K10{HASH}::abcdef.0123456789abcdef", "abcdef.0123456789abcdef", "K1", "k10abc"),
)


@pytest.mark.parametrize("text", [text for _, text in PLACES.values()], ids=PLACES)
@pytest.mark.parametrize("token", RIGHT)
def test_a_token_that_k3s_takes_is_left_alone(token: str, text: str) -> None:
    assert said(text.replace("@", token)) == []


def test_a_node_gives_k3s_the_token_that_is_written() -> None:
    """Without a token a server would start its own cluster."""
    assert plain(check_text(b"k3os: {token: K10abc}", "c")[0]["k3os.token"]) == "K10abc"


DIRECTORIES = {
    "relative": ("{path: etc}", "write_files[0].path", 2),
    "of the system": ("{path: /etc}", "write_files[0].path", 1),
    "with a dot": ("{path: /etc/.}", "write_files[0].path", 1),
    "slashes": ("{path: //var//lib}", "write_files[0].path", 1),
    "of manifests": ("{path: /var/lib/rancher/k3s/server/manifests}", "write_files[0].path", 1),
    "of units": ("{path: /etc/systemd/system}", "write_files[0].path", 1),
    "a home": ("{path: /home/rancher/.ssh}", "write_files[0].path", 1),
    "of another entry": ("{path: /opt/a/b}, {path: /opt/a}", "write_files[1].path", 1),
    "far above another": ("{path: /opt/x}, {path: /opt/x/b/c}", "write_files[0].path", 1),
}


@pytest.mark.parametrize("entries,key,count", DIRECTORIES.values(), ids=DIRECTORIES)
def test_a_path_that_is_a_directory_is_an_error(entries: str, key: str, count: int) -> None:
    lines = [line for line in said(f"write_files: [{entries}]") if "is left out" not in line]
    assert len(lines) == count
    assert f": {key}: " in lines[-1]
    assert "warning" not in lines[-1]
    assert "is a directory" in lines[-1]


@pytest.mark.parametrize("path", ["/etc/motd", "/etcetera", "/opt/a", "/etc/rancher/k3s/x", "a"])
def test_a_path_of_a_file_is_no_directory(path: str) -> None:
    entries = f"{{path: {path}}}, {{path: {path}-b/c}}"
    assert not [line for line in said(f"write_files: [{entries}]") if "directory" in line]


PAIRS = {
    "blanks": ("environment: A=b B=c", "A, B"),
    "commas": ("environment: 'A=b,B=c'", "A, B"),
    "both, and more": ("environment: 'A=b, B=c; D=e'", "A, B, D"),
    "in an item": ("environment: ['X=1', 'A=b B=c']", "A, B"),
    "labels": ("labels: a=b c/d-e=f", "a, c/d-e"),
    "labels in an item": ("labels: ['a=b,c=d']", "a, c"),
    "sysctls": ("sysctls: vm.swappiness=1 kernel.panic=2", "vm.swappiness, kernel.panic"),
}


@pytest.mark.parametrize("text,names", PAIRS.values(), ids=PAIRS)
def test_several_pairs_in_one_text_are_said_with_their_names(text: str, names: str) -> None:
    line = said(f"k3os: {{{text}}}")[0]
    assert "warning" in line
    assert f"holds several values in one text ({names})" in line
    assert "write a line `name: value` for each" in line
    assert "=b" not in line


def test_a_list_of_variables_in_lines_is_taken_line_by_line() -> None:
    text = b"k3os:\n  environment: |\n    A=b c\n\n    # a comment\n    B=c=d\n"
    values, problems = check_text(text, "c")
    assert plain(values["k3os.environment"]) == {"A": "b c", "B": "c=d"}
    (line,) = map(str, problems)
    assert "warning" in line
    assert "(A, B)" in line


@pytest.mark.parametrize(
    "text",
    [
        "environment: A=b c",
        "environment: JAVA_OPTS=-Da=b -Dc=d",
        "environment: ['A=b', B=c]",
        "environment: {A: 'b C=d'}",
        "environment: 'U=http://h/?a=b&c=d'",
        "labels: a=b",
    ],
)
def test_one_pair_in_one_text_is_taken(text: str) -> None:
    assert said(f"k3os: {{{text}}}") == []


WORDS = {
    "a switch before the rest": (
        "--no-flannel server server",
        ["--flannel-backend=none", "server", "server"],
    ),
    "a switch of agents": ("--debug agent x", ["--debug", "agent", "x"]),
    "a value with blanks": ("--kubelet-arg server x", ["--kubelet-arg", "server x"]),
    "a value that looks like a role": ("server --tls-san 'agent x'", None),
    "two values": (
        "server --kubelet-arg 'agent x' --debug",
        ["server", "--kubelet-arg", "agent x", "--debug"],
    ),
}


@pytest.mark.parametrize("text,new", WORDS.values(), ids=WORDS)
def test_arguments_in_one_text_get_a_list_that_says_the_same(
    text: str, new: list[str] | None
) -> None:
    old = f'k3os:\n  k3s-arg: "{text}"\n'.encode()
    migrated, _ = migrate(old, "f")
    words = plain(check_text(migrated.encode(), "f")[0]["k3os.k3s_args"])
    assert words == (new or ["server", "--tls-san", "agent x"])
    assert migrate(migrated.encode(), "f") == (migrated, [])


def test_what_cannot_be_said_in_the_new_form_names_its_key_and_no_other_cause() -> None:
    text = "k3os: {k3s-args: \"server --kubelet-arg '--a --b'\"}"
    with pytest.raises(UserError) as caught:
        migrate(text.encode(), "f")
    assert "k3os.k3s_args" in str(caught.value)
    assert "anchor" not in str(caught.value)
    assert str(caught.value).startswith("f:1: ")
