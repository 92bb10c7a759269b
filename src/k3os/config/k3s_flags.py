"""Which of k3s' flags are secrets, and where else k3s reads them from (docs.k3s.io/cli/server).

Everybody can read the arguments of a process; k3s also shows its own in the cluster, in an
annotation of the node.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# k3s' own configuration file; the files in the directory FILE.d are read after it
FILE = "/etc/rancher/k3s/config.yaml"

# flag -> (environment variable, flag that names a file with it, or ""). k3s prefers the file to the
# variable.
SECRETS = {
    "token": ("K3S_TOKEN", "token-file"),
    "agent-token": ("K3S_AGENT_TOKEN", "agent-token-file"),
    "vpn-auth": ("K3S_VPN_AUTH", "vpn-auth-file"),
    "datastore-endpoint": ("K3S_DATASTORE_ENDPOINT", ""),
    "etcd-s3-access-key": ("AWS_ACCESS_KEY_ID", ""),
    "etcd-s3-secret-key": ("AWS_SECRET_ACCESS_KEY", ""),
    "etcd-s3-session-token": ("AWS_SESSION_TOKEN", ""),
    "cluster-secret": ("K3S_CLUSTER_SECRET", ""),
}
SHORT = {"t": "token"}
# an agent exits if its configuration file contains a server's flag
OF_AGENTS = ("token", "vpn-auth")
MASK = "********"

_IN_FLAGS = "abcdefghijklmnopqrstuvwxyz0123456789-"
_KEY = rf"(?:^|[\s{{,\"'])(?:{'|'.join([*SECRETS, *SHORT])})\+?[\"']?\s*:"
# a login in an address, such as a proxy's
_LOGIN = r"://[^\s/:@]+:[^\s/@]+@"


def secrets_in(words: list[str]) -> Iterator[tuple[int, int, str, str]]:
    """Each secret in an argument list: position, number of words, flag, value.

    `--flag=value`, or `--flag value` as one word or as two.
    """
    position = 0
    while position < len(words):
        name, value = flag_and_value(words[position])
        flag = SHORT.get(name, name)
        count = 1
        if flag in SECRETS:
            if value is not None:
                yield position, count, flag, value
            elif position + 1 < len(words):
                count = 2
                yield position, count, flag, words[position + 1]
        position += count


def flag_and_value(word: str) -> tuple[str, str | None]:
    """The name of a flag, "" for other words, and its value if it is in the same word, after `=` or
    blanks; else None."""
    if not word.startswith("-"):
        return "", None
    text = word.removeprefix("-").removeprefix("-")
    rest = text.lstrip(_IN_FLAGS)
    name = text[: len(text) - len(rest)]
    if not rest:
        return name, None
    if rest[0] == "=":
        return name, rest[1:]
    return (name, rest.lstrip()) if rest[0].isspace() else ("", None)


def flags(words: list[str]) -> Iterator[tuple[int, str, str]]:
    """Position, name and value of each flag: `--flag=value`, or with a blank or line break, as
    one word or as two. For a flag without a value: the next word, or ""."""
    for position, (word, following) in enumerate(zip(words, [*words, ""][1:], strict=True)):
        name, value = flag_and_value(word)
        if name:
            yield position, name, following if value is None else value.strip()


def without_secrets(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """The other arguments, and flag -> value of the secrets; the last one of each flag counts."""
    kept: list[str] = []
    found: dict[str, str] = {}
    start = 0
    for position, count, flag, value in secrets_in(words):
        kept += words[start:position]
        start = position + count
        found[flag] = value
    return kept + words[start:], found


def masked(words: list[str]) -> list[str]:
    """The same number of words, with secrets replaced by MASK, even after a misspelt flag."""
    from k3os.config.spelling import nearest
    from k3os.errors import discreet

    shown = [discreet(word, whole=True) for word in words]
    for position, word in enumerate(words):
        name, equals, _ = word.partition("=")
        if equals and name.startswith("-") and nearest(name.lstrip("-"), list(SECRETS)):
            shown[position] = f"{name}={MASK}"
    for position, count, flag, _ in secrets_in(words):
        shown[position] = f"--{flag}={MASK}" if count == 1 else words[position]
        if count == 2:
            shown[position + 1] = MASK
        # k3s has only flags: other words are the rest of a secret with a space in it
        for rest in range(position + count, len(words)):
            if words[rest].startswith("-"):
                break
            shown[rest] = MASK
    return shown


def holds_secret(path: str, data: bytes) -> bool:
    """Whether a file is part of k3s' configuration and seems to contain a secret."""
    if path != FILE and not path.startswith(f"{FILE}.d/"):
        return False
    import re

    return re.search(f"{_KEY}|{_LOGIN}".encode(), data) is not None
