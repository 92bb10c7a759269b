"""config.yaml as a JSON Schema (https://json-schema.org/draft/2020-12), from schema.TABLE.

Editors use it for completion and checks. The check itself is in kinds.py, which accepts more
spellings than an editor should offer.
"""

from __future__ import annotations

from k3os.config.key import BY_NAME, PHASES, Key
from k3os.config.scalars import CONSOLE
from k3os.config.schema import SECTIONS, TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

URI = "https://json-schema.org/draft/2020-12/schema"
TEXT: dict[str, Any] = {"type": ["string", "number", "boolean"]}
TEXTS: dict[str, Any] = {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}
COMMAND: dict[str, Any] = {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}
SHAPES: dict[str, dict[str, Any]] = {
    "text": TEXT,
    "lines": TEXT,
    "toml": {"type": "string"},
    "console": {"type": "string", "pattern": f"^{CONSOLE}$"},
    "boolean": {"enum": [True, False, "true", "false", "yes", "no", "on", "off", 0, 1]},
    "swap size": {
        "anyOf": [
            {"enum": [True, False, "true", "false", "yes", "no", "on", "off", "auto", 0]},
            {"type": "string", "pattern": "^[0-9]+ *(%|[mMgG]([iI]?[bB])?)$"},
        ]
    },
    "path": {"type": "string", "pattern": "^/"},
    "file path": {"type": "string", "pattern": "^/"},
    "location": {"type": "string", "pattern": "^(/|[^ ]+://[^ ]+$)"},
    "url": {"type": "string", "pattern": "^[^ ]+://[^ ]+$"},
    "owner": {"type": ["string", "integer"], "pattern": "^[^:/\\s]+(:[^/\\s]*)?$"},
    "permissions": {"type": ["string", "integer"], "pattern": "^(0o)?[0-7]+$"},
    "hostname": {"type": "string", "maxLength": 64},
    "texts": TEXTS,
    "ssh keys": TEXTS,
    "arguments": TEXTS,
    "certificates": {
        "type": "array",
        "items": {"type": "string", "pattern": "BEGIN CERTIFICATE|^/|://"},
    },
    "certificate": {"type": "string", "pattern": "BEGIN CERTIFICATE|^/"},
    "private key": {"type": "string", "pattern": "PRIVATE KEY-----|^/"},
    "addresses": TEXTS,
    "hosts": TEXTS,
    "interfaces": TEXTS,
    "interface": {"type": "string"},
    "network": TEXT,
    "router": TEXT,
    "fixed address": TEXT,
    "endpoints": TEXTS,
    "images": TEXTS,
    "mount options": TEXTS,
    "taints": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    "commands": {"anyOf": [TEXT, {"type": "array", "items": COMMAND}]},
    "duration": {
        "type": ["integer", "string"],
        "pattern": "^[0-9]+$|^([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
    },
    "kubelet": {"type": "object"},
    "manifests": {"type": "object", "additionalProperties": {"type": "string"}},
    "rewrites": {"type": "object", "additionalProperties": TEXT},
    "text map": {"type": "object", "additionalProperties": TEXT},
}


def json_schema() -> dict[str, Any]:
    """The schema of the whole file."""
    schema = _section("")
    return {"$schema": URI, "title": "k3OS config.yaml", **schema}


def _section(section: str) -> dict[str, Any]:
    prefix = f"{section}." if section else ""
    properties = {key.name: _key(key) for key in TABLE if key.path.rpartition(".")[0] == section}
    for inner in SECTIONS:
        if inner and inner.rpartition(".")[0] == section:
            properties[inner[len(prefix) :]] = _section(inner)
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _key(key: Key) -> dict[str, Any]:
    shape = dict(_shape(key))
    phases = ", ".join(phase for phase in PHASES if phase in key.phases)
    phases = f" Phases: {phases}." if phases else ""
    return {"description": f"{key.description}.{phases}", **shape}


def _shape(key: Key) -> dict[str, Any]:
    if key.kind == "number":
        least, most = key.limits
        return {
            "type": ["integer", "string"],
            "minimum": least,
            "maximum": most,
            "pattern": "^[0-9]+$",
        }
    if key.kind == "choice":
        return {"enum": list(key.values)}
    if key.kind == "choices":
        names = {"enum": list(key.values)}
        return {"anyOf": [names, {"type": "array", "items": names}]}
    if key.kind in ("maps", "routes"):
        return {"type": "array", "items": _fields(key)}
    if key.kind == "map":
        return _fields(key)
    if key.kind in BY_NAME:
        return {"type": "object", "additionalProperties": _fields(key)}
    return SHAPES[key.kind]


def _fields(key: Key) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for field in key.fields:
        for name in (field.name, *field.aliases):
            properties[name] = _key(field)
    required = [
        {"anyOf": [{"required": [name]} for name in (field.name, *field.aliases)]}
        for field in key.fields
        if field.required
    ]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "allOf": required} if required else schema
