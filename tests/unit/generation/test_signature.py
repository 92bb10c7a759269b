"""Who may sign: real OpenSSH keys and signatures."""

from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.generation.signature import read_keys, verify
from k3os.image.signing import public_key, sign, trusted_keys
from k3os.system.run import run

DATA = b"a manifest"


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("keys")
    paths = (directory / "ours", directory / "theirs")
    for path in paths:
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)])
    return paths


def test_what_a_trusted_key_signed_is_taken(keys, tmp_path):
    ours, theirs = keys
    (tmp_path / "trusted").write_text(trusted_keys(ours, (theirs.with_suffix(".pub"),)))
    trusted = read_keys([str(tmp_path / "trusted"), str(tmp_path / "missing")])
    assert len(trusted) == 2
    verify(DATA, sign(DATA, ours), trusted, "here")
    verify(DATA, sign(DATA, theirs), trusted, "here")


def test_signing_twice_gives_the_same_bytes(keys):
    assert sign(DATA, keys[0]) == sign(DATA, keys[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data", "has a wrong signature"),
        ("key", "has a wrong signature"),
        ("none", "is not signed"),
    ],
)
def test_what_nobody_we_know_signed_is_refused(keys, change, said):
    ours, theirs = keys
    signature = b"" if change == "none" else sign(DATA, theirs if change == "key" else ours)
    data = DATA + b"!" if change == "data" else DATA
    with pytest.raises(UserError, match=said):
        verify(data, signature, [public_key(ours)], "here")


def test_a_signature_for_another_purpose_does_not_count(keys):
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(keys[0]), "-n", "git"]
    with pytest.raises(UserError, match="has a wrong signature"):
        verify(DATA, run(command, stdin=DATA), [public_key(keys[0])], "here")


def test_a_node_without_keys_says_where_they_go(keys):
    with pytest.raises(UserError, match="knows no key"):
        verify(DATA, sign(DATA, keys[0]), [], "here")


def test_an_allowed_signers_file_is_a_file_of_keys(keys, tmp_path):
    line = f'k3os namespaces="k3os" {public_key(keys[0])}\n# a comment\n\n'
    (tmp_path / "signers").write_text(line)
    verify(DATA, sign(DATA, keys[0]), read_keys([str(tmp_path / "signers")]), "here")
