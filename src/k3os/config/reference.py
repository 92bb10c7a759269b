"""The tables of docs/reference/configuration.md, in Markdown, from schema.TABLE.

`k3os config reference` prints them; a test compares them with that page, between BEGIN and END.
"""

from __future__ import annotations

from k3os.config.key import MERGE_WORDS, PHASES, Key
from k3os.config.schema import TABLE

BEGIN = "<!-- begin: `k3os config reference`; do not edit -->"
END = "<!-- end: `k3os config reference` -->"
KIND_WORDS = {
    "texts": "list",
    "ssh keys": "list",
    "choices": "list of names",
    "arguments": "list",
    "text map": "map",
    "maps": "list of maps",
    "networks": "map of maps",
    "mirrors": "map of maps",
    "registry configs": "map of maps",
    "endpoints": "list",
    "images": "list",
    "mount options": "list",
    "rewrites": "map",
    "manifests": "map",
    "kubelet": "map",
    "addresses": "list",
    "hosts": "list",
    "interfaces": "list",
    "interface": "name or MAC",
    "routes": "list of maps",
    "router": "address",
    "fixed address": "address",
    "certificates": "list",
    "certificate": "text or path",
    "private key": "text or path",
    "commands": "list of commands",
    "taints": "list",
    "swap size": "size",
    "choice": "text",
    "console": "text",
    "lines": "text",
    "toml": "text",
    "file path": "path",
    "url": "URL",
    "location": "URL or path",
    "owner": "text",
    "permissions": "octal number",
    "hostname": "name",
}


def markdown() -> str:
    """BEGIN, the tables, END, each on its own line."""
    lines = [BEGIN, "", f"| key | type | {' | '.join(PHASES)} | sources | what |"]
    lines.append(f"|---|---|{':-:|' * len(PHASES)}---|---|")
    lines += [_row(key) for key in TABLE]
    for key in TABLE:
        if key.fields:
            lines += _fields(f"Each entry of `{key.path}`:", key)
            for field in key.fields:
                lines += _fields(_title(field), field) if field.fields else []
    return "\n".join([*lines, "", END, ""])


def _title(field: Key) -> str:
    name = f"`{field.name}`"
    return f"Its {name}:" if field.kind == "map" else f"Each of its {name}:"


def _fields(title: str, key: Key) -> list[str]:
    head = ["", title, "", "| key | type | what |", "|---|---|---|"]
    return [*head, *(_field(field) for field in key.fields)]


def _row(key: Key) -> str:
    phases = " | ".join("x" if phase in key.phases else " " for phase in PHASES)
    merge = MERGE_WORDS[key.merge].format(key.identity)
    example = f", e.g. `{key.example}`" if key.example else ""
    return f"| `{key.path}` | {kind_of(key)} | {phases} | {merge} | {key.description}{example} |"


def _field(field: Key) -> str:
    also = f" (or {', '.join(f'`{name}`' for name in field.aliases)})" if field.aliases else ""
    needed = ", required" if field.required else ""
    values = [f"`{value}`" for value in field.values if value]
    listed = f": {', '.join(values)}" if values else ""
    what = f"{field.description}{listed}{needed}"
    return f"| `{field.name}`{also} | {kind_of(field)} | {what} |"


def kind_of(key: Key) -> str:
    return KIND_WORDS.get(key.kind, key.kind)
