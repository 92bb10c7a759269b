"""Text without secrets, for people outside of the cluster: those of the configuration, of k3s'
files, and anything that looks like one.

Three filters in a row: known secret values, anywhere and in all forms that programs write them in;
what follows a name such as `password`; forms that are always secret (private keys, tokens, password
hashes). A value of less than 4 characters is only found by its name: replaced everywhere, it would
make the rest unreadable.
"""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote, unquote

from k3os.config.dump import masked
from k3os.config.k3s_flags import MASK
from k3os.config.schema import BY_PATH
from k3os.config.value import plain
from k3os.errors import discreet
from k3os.system.files import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k3os.config.load import Config

SHORTEST, AS_A_WORD, LINE = 4, 8, 12  # characters
# docs.k3s.io, "Token Management"; the node's own password
FILES = ("/run/k3os/k3s.token", "/etc/rancher/node/password")
OF_SERVER = ("server/token", "server/agent-token", "server/node-token")
NAMED = re.compile(
    r"""((?:pass(?:word|wd|phrase)?|token|secret|psk|api[-_]?key|private[-_]?key|credentials?)
    [\w.-]*["']?\s*[:=]\s*)("[^"\n]*"|'[^'\n]*'|[^\s,;}&]+)""",
    re.IGNORECASE | re.VERBOSE,
)
LOGIN = re.compile(r"(?<=://)[^\s/@]*:[^\s@]*(?=@)")  # in a URL, RFC 3986
FORMS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
    re.compile(r"\bK10[0-9a-f]{64}::[^\s\"']+"),  # k3s
    re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"),  # RFC 7519
    re.compile(r"\$(?:1|2[aby]|5|6|7|y|gy)\$[^\s:\"']+"),  # crypt(5)
    re.compile(r"(?<=Bearer )[\w.~+/=-]{8,}|(?<=Basic )[\w+/=]{8,}"),  # RFC 6750, RFC 7617
)


def known_secrets(config: Config, root: str = "") -> set[str]:
    """The secret values of a node."""
    found: set[str] = set()
    for path, value in config.values.items():
        found.update(_hidden(plain(value), plain(masked(BY_PATH[path], value))))
    for path in (*FILES, *_of_server(config, root)):
        if text := text_of(root + path):
            found |= {text, text.rpartition(":")[2]}
    return {each for each in found if len(each) >= SHORTEST}


def _of_server(config: Config, root: str) -> set[str]:
    """Where a server's tokens may be: by the configuration, by k3s' settings, and by default, since
    an old token is a secret, too."""
    from k3os.config.k3s_data import DATA
    from k3os.errors import UserError
    from k3os.k3s import settings
    from k3os.phases import k3s
    from k3os.phases.environment import of_k3s
    from k3os.phases.node import Node

    directories = {DATA, k3s.data_directory(config)}
    try:
        read = settings.read(k3s.arguments(config), of_k3s(config, Node(root or "/")), root=root)
    except UserError:
        read = {}  # k3s cannot read it, either
    directories.add(settings.data_directory(read))
    return {f"{directory}/{name}" for directory in directories for name in OF_SERVER}


def _hidden(real: object, shown: object) -> Iterator[str]:
    """What the masked form of a value hides."""
    if isinstance(real, list) and isinstance(shown, list):
        for pair in zip(real, shown, strict=True):
            yield from _hidden(*pair)
    elif isinstance(real, dict) and isinstance(shown, dict):
        for name, item in real.items():
            yield from _hidden(item, shown[name])
    elif real == shown:
        return
    elif isinstance(real, str):
        yield from _of_text(real, str(shown))
    else:  # all of it is hidden
        yield from _leaves(real)


def _of_text(real: str, shown: str) -> Iterator[str]:
    """The secret part of a text; also each line of it that is long enough."""
    head, _, tail = shown.partition(MASK)
    if MASK in shown and real.startswith(head) and real.endswith(tail):
        real = real[len(head) : len(real) - len(tail)]
    yield real.strip()
    for match in LOGIN.finditer(real):
        login, password = match[0], match[0].partition(":")[2]
        yield from (login, password, unquote(password))
    lines = real.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= LINE)
        yield from (match[2].strip("\"'") for match in NAMED.finditer(real))


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, str):
        yield from _of_text(value, MASK)


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text with MASK in place of each secret."""
    forms = {form for each in secrets for form in _forms(each)}
    if forms:
        ordered = sorted(forms, key=len, reverse=True)
        text = re.sub("|".join(map(_pattern, ordered)), MASK, text)
    for form in FORMS:
        text = form.sub(MASK, text)
    text = NAMED.sub(rf"\1{MASK}", text)
    if "://" in text:
        text = "\n".join(map(discreet, text.split("\n")))
    return text


def _forms(secret: str) -> set[str]:
    """As it is, in JSON, in a URL, in a Kubernetes Secret."""
    encoded = base64.b64encode(secret.encode(errors="surrogateescape")).decode()
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret.encode(errors="surrogateescape"), safe=""),
        encoded.rstrip("="),
    }


def _pattern(secret: str) -> str:
    exact = re.escape(secret)
    return exact if len(secret) >= AS_A_WORD else rf"(?<!\w){exact}(?!\w)"
