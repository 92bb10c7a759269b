"""ssh_authorized_keys: public keys, sources of public keys, and anything else.

Format: sshd(8), AUTHORIZED_KEYS FILE FORMAT; the base64 part: RFC 4253, 6.6.
"""

from __future__ import annotations

from k3os.config.kinds import Check
from k3os.config.scalars import items_in, one_line, refuse_form, scalar_text
from k3os.config.value import Node, Value, Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key

GITHUB = "https://github.com/{}.keys"
FORGES = {"github:": GITHUB, "gh:": GITHUB, "gitlab:": "https://gitlab.com/{}.keys"}
TYPES = ("ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-")
# number of fields in the base64 part of a type, including the type itself
FIELDS = {"ssh-rsa": 3, "ssh-ed": 2, "ecdsa-": 3, "sk-ssh-": 3, "sk-ecdsa-": 4}
PAGES = ("github.com", "gitlab.com")
WRITE = "write the line of a .pub file, github:NAME, gitlab:NAME or a URL"


def address(text: str) -> str:
    """Where to fetch the keys from; "" for a key itself."""
    for prefix, url in FORGES.items():
        if text.lower().startswith(prefix):
            return url.format(text[len(prefix) :])
    return text if text.startswith(("https://", "http://")) else ""


def is_key(text: str) -> bool:
    """A line with a complete public key, maybe with options before it and a comment after it."""
    return "\n" not in text and not address(text) and not what_is_wrong(text)[0]


def keys(check: Check, key: Key, node: Node, path: str) -> Value:
    """Each line of a text is one key; what cannot be a key is left out."""
    found: list[Value] = []
    for index, item in items_in(node):
        try:
            refuse_form(item)
            found += [Value(line, item.place) for line in _lines(item)]
        except Wrong as wrong:
            check.error(f"{path}[{index}]", wrong, item)
    return Value(found, node.place)


def _lines(item: Node) -> list[str]:
    text = scalar_text(item, "a key").strip()
    if "PRIVATE KEY" in text:
        hint = "make a new pair, since this one is known now, and write the line of its .pub file"
        raise Wrong(item.place, "is a private key, which belongs on your own computer", hint)
    if text.startswith("---- BEGIN"):
        raise Wrong(item.place, "is a key in another format", "convert it: `ssh-keygen -i -f FILE`")
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line and (len(lines) == 1 or not line.startswith("#"))]
    for line in lines:
        one_line(Node("scalar", item.place, line), "a key")
        what, hint = what_is_wrong(line)
        if what:
            raise Wrong(item.place, what, hint)
    return lines


def what_is_wrong(text: str) -> tuple[str, str]:
    """Why a line yields no key, and what to write; "" if it may yield one."""
    if address(text):
        return _of_address(text)
    words = text.split()
    starts = [index for index, word in enumerate(words) if word.startswith(TYPES)]
    right = [index for index in starts if words[index + 1 : index + 2] and _blob(words, index)]
    if not starts:
        return _no_key(text, words)
    kind, blob = words[(right or starts)[0]], _blob(words, (right or starts)[0])
    if not right or _is_placeholder(blob):
        return f"is not a complete ssh key: `{kind}` is not followed by one", WRITE
    if kind == "ssh-dss":
        return "is a DSA key, which OpenSSH does not take any more", "`ssh-keygen -t ed25519`"
    if not _is_whole(kind, blob):
        hint = "copy the whole line of the .pub file, without line breaks in it"
        return f"is not a complete ssh key: the text behind `{kind}` is cut off or damaged", hint
    return "", ""


def _blob(words: list[str], index: int) -> str:
    blob = words[index + 1] if index + 1 < len(words) else ""
    return blob if blob.startswith("AAAA") else ""


def _is_placeholder(text: str) -> bool:
    return not text or any(sign in text for sign in ("...", "…", "<", "${", "{{", "XXXX"))


def _of_address(text: str) -> tuple[str, str]:
    prefix, _, name = text.partition(":")
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    if text.startswith(("https://", "http://")):
        host, _, account = name.strip("/").partition("/")
        # a longer path may be that of a file in a repository
        is_page = account.count("/") < 2 and not account.endswith(".keys")
        if host in PAGES and account and is_page:
            hint = f"write {host.partition('.')[0]}:{account.partition('/')[0]}"
            return "is the address of a page, not of keys", hint
        bad = " " in text or _is_placeholder(name)
        return ("is not an address that can be asked", WRITE) if bad else ("", "")
    if not plain.isalnum() or not plain.isascii():
        return f"`{text}` names no account", f"write `{prefix}:NAME` with the name of the account"
    return "", ""


def _no_key(text: str, words: list[str]) -> tuple[str, str]:
    if text.startswith("#"):
        return "is a comment, not a key", "leave it out, or write it as a comment of YAML"
    if text.startswith(("/", "~", "./")) or text.endswith(".pub"):
        return f"`{text}` is the name of a file", "write the line that is in the file"
    if text.startswith("AAAA"):
        return "is not a complete ssh key: the type is missing", "write e.g. `ssh-ed25519 AAAA…`"
    if text.startswith("lp:"):
        return (
            f"`{text}` is not an ssh public key",
            f"write https://launchpad.net/~{text[3:]}/+sshkeys",
        )
    if len(words) == 1 and text.replace("-", "").isalnum() and text.isascii():
        return f"`{text}` is not an ssh public key", f"did you mean github:{text}?"
    return f"`{text[:20]}` is not an ssh public key", WRITE


def _is_whole(kind: str, blob: str) -> bool:
    """Whether the base64 is that of a key of this type: its fields, each after its length, begin
    with the type and end with the data. A certificate has fields of other types in between."""
    import binascii

    try:
        data = binascii.a2b_base64(blob, strict_mode=True)
    except ValueError:
        return False
    fields: list[bytes] = []
    position = 0
    while position + 4 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        fields.append(data[position + 4 : position + 4 + length])
        position += 4 + length
        if "-cert-" in kind:
            break
    number = next((count for start, count in FIELDS.items() if kind.startswith(start)), 0)
    whole = position == len(data) and len(fields) == (number or len(fields)) > 1
    return fields[:1] == [kind.encode(errors="replace")] and (whole or "-cert-" in kind)
