"""Which ssh_authorized_keys work, and which only look as if they did."""

import pytest

from k3os.config.check import check_text
from k3os.config.dump import double_quoted
from k3os.config.value import plain
from k3os.errors import UserError
from k3os.install.config import compose
from tests.unit.phases.conftest import KEY, OTHER_KEY


def read(text: str) -> tuple[object, list[str]]:
    values, problems = check_text(text.encode(), "c")
    found = values.get("ssh_authorized_keys")
    return plain(found) if found else [], [str(each) for each in problems]


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        OTHER_KEY,
        f'from="10.0.0.0/8",command="ssh-add x" {KEY}',
        "github:me",
        "gh:me",
        "gitlab:me.too",
        "https://example.com/keys",
        "https://github.com/me.keys",
        "https://github.com/me/dotfiles/raw/main/keys.txt",
        "https://gitlab.com/me.keys",
        "https://launchpad.net/~me/+sshkeys",
    ],
)
def test_what_brings_a_key_is_taken(written: str) -> None:
    assert read(f"ssh_authorized_keys: [{double_quoted(written)}]") == ([written], [])


def test_a_text_of_several_lines_is_as_many_keys() -> None:
    text = f"ssh_authorized_keys:\n- |\n  # mine\n  {KEY}\n\n  {OTHER_KEY}\n"
    assert read(text) == ([KEY, OTHER_KEY], [])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAA...", "not followed by one"),
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ me", "cut off"),
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB me", "cut off"),
        ("https://github.com/me", "; write github:me"),
        ("https://github.com/me/", "; write github:me"),
        ("https://gitlab.com/me/dotfiles", "; write gitlab:me"),
        ("lp:me", "; write https://launchpad.net/~me/+sshkeys"),
        (KEY.replace("AAAAC3NzaC1lZDI1NTE5", "AAAAC3Nza C1lZDI1NTE5"), "cut off"),
        (KEY.replace("ssh-ed25519", "ssh-rsa"), "cut off or damaged"),
        ("ssh-ed25519 <your key>", "not followed by one"),
        (KEY.partition(" ")[2], "the type is missing"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n", "is a private key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "ssh-keygen -i"),
        ("~/.ssh/id_ed25519.pub", "is the name of a file"),
        ("octocat", "did you mean github:octocat?"),
        ("github:<your name>", "names no account"),
        ("# mine", "is a comment"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACBAP me", "is a DSA key"),
    ],
)
def test_what_is_no_key_is_left_out_and_said(written: str, said: str) -> None:
    keys, problems = read(f"ssh_authorized_keys: [{double_quoted(written)}, gh:me]")
    assert keys == ["gh:me"]
    assert [said in line for line in problems] == [True]
    assert "warning" not in problems[0]
    assert "b3BlbnNz" not in problems[0]


def test_an_installation_whose_only_key_is_none_is_refused() -> None:
    said: list[str] = []
    with pytest.raises(UserError):
        compose("/nonexistent", "", "ssh_authorized_keys=ssh-rsa", said.append)
    assert "is not a complete ssh key" in said[0]
