"""`$(hostname)`, `${NAME}` in values that no shell reads: suggest an equivalent.

Warnings only. The original k3OS' service script was a shell script, which expanded them; here they
are taken literally. Commands and file contents are not checked: a shell may read them.
"""

from __future__ import annotations

import re

from k3os.config.k3s_flags import masked
from k3os.config.unmeant import FILL_IN, TEMPLATE, is_template
from k3os.config.value import texts_of
from k3os.errors import discreet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.kinds import Check
    from k3os.config.value import Value

# a password may contain any character
PASSWORDS = ("k3os.password", "passphrase")
EXPANSION = r"\$\([^()]*\)|\$\{[A-Za-z_][^}]*\}|`[a-z][^`]*`"
# in a token or an address, `$NAME` may be literal
VARIABLE = r"|\$[A-Za-z_][A-Za-z0-9_]*"
SHELLS = ("arguments", "text map")
WHOLE = r"\s*\$\{[^}]*\}\s*"
SELF = "write the value itself"
INSTEAD = {
    "node-name": "leave it out: the node is named after its host",
    "node-ip": "leave it out: k3s takes the address of the default route",
    "advertise-address": "leave it out: k3s takes the node's address",
}
BY_COMMAND = (
    'write the value itself, or let run_cmd write a line "{}: …" into a file of '
    "/etc/rancher/k3s/config.yaml.d"
)


def warn(check: Check, key: Key, value: Value, path: str) -> None:
    """Warn about each text that contains one."""
    texts = list(texts_of(value))
    words = [text for text, _ in texts]
    is_list = key.kind == "arguments"
    names = [f"{path}.{name}" for name in value.data] if isinstance(value.data, dict) else []
    names = names if len(names) == len(texts) else [path] * len(texts)
    each = zip(texts, masked(words), ["", *words], names, strict=False)
    for (text, place), mask, before, path in each:
        is_secret = is_list and mask != text  # a secret may contain a `$`
        if key.path in PASSWORDS or is_template(text):
            if re.fullmatch(WHOLE, text) or key.path not in PASSWORDS:
                check.warn(place, path, TEMPLATE, FILL_IN)
            continue
        pattern = EXPANSION + (VARIABLE if key.kind in SHELLS and not is_secret else "")
        match = re.search(pattern, text)
        if match:
            has_login = discreet(text, whole=True) != text
            shown = "${…}" if key.secret or is_secret or has_login else match[0]
            hint = _of_flag(before, text) if is_list else SELF
            check.warn(place, path, f"`{shown}` stands for itself: no shell reads it", hint)


def _of_flag(before: str, text: str) -> str:
    """The equivalent for an argument: `--flag=value`, or the word after `--flag`."""
    word = text if text.startswith("-") else before
    flag = word.lstrip("-").partition("=")[0]
    return INSTEAD.get(flag, BY_COMMAND.format(flag or "flag"))
