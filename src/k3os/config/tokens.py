"""Invalid tokens of k3s, anywhere in a configuration. Part of the advice: a node passes on what is
written and shows k3s' error.

Format: docs.k3s.io/cli/token. Messages never contain a token.
"""

from __future__ import annotations

import re

from k3os.config.value import Problem, Value, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = "K10"
# the CA's hash (optional), then a bootstrap token, or user and password
FORM = re.compile(r"K10([0-9A-Fa-f]{64})?::([a-z0-9]{6}\.[a-z0-9]{16}|[^:]+:.+)")
FLAGS = ("token", "agent-token")
VARIABLES = ("K3S_TOKEN", "K3S_AGENT_TOKEN")
MESSAGE = "begins like a full token and is not one, so k3s refuses it"
HINT = (
    "copy the whole line of a server's /var/lib/rancher/k3s/server/token: K10, 64 hex digits, `::`,"
    " then `server:` and the password"
)


def is_wrong(text: str) -> bool:
    text = text.strip()
    return text.startswith(FULL) and not FORM.fullmatch(text)


def check(values: dict[str, Value]) -> Iterator[Problem]:
    """An error for each token outside of k3os.k3s_args, which k3s_words checks."""
    for key, value in _tokens(values):
        if is_wrong(str(value.data)):
            yield Problem(value.place, key, MESSAGE, HINT)
    from k3os.config.k3s_files import is_settings, top_level

    for index, item in numbered(values.get("write_files")):
        assert isinstance(item.data, dict)
        path, content = str(item.data["path"].data), item.data.get("content")
        if content is None or "encoding" in item.data or not is_settings(path):
            continue
        keys = top_level(str(content.data))
        if any(is_wrong(text) for flag in FLAGS for text in keys.get(flag, [])):
            key = f"write_files[{index}].content"
            yield Problem(content.place, key, f"a token in it {MESSAGE}", HINT)


def _tokens(values: dict[str, Value]) -> Iterator[tuple[str, Value]]:
    if "k3os.token" in values:
        yield "k3os.token", values["k3os.token"]
    variables = values.get("k3os.environment")
    if variables is not None and isinstance(variables.data, dict):
        for name in VARIABLES:
            if name in variables.data:
                yield f"k3os.environment.{name}", variables.data[name]
