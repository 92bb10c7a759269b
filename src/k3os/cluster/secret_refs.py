"""Which Secrets a NodePool's configuration takes values from, and how to compare values without
showing them.

    secrets: [{name: wifi, valueFrom: {secretKeyRef: {name: office, key: passphrase}}}]

The form is that of a container's environment (kubernetes.io, EnvVarSource); the Secrets are in the
operator's own namespace. A value's seal is an HMAC (RFC 2104): without the key, nobody can use it
to guess passwords. Nothing is asked here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from k3os import names
from k3os.cluster.objects import inside, maps, text

LONGEST = 2**21  # characters of a value in base64; an object in the API is limited to about 1 MiB
SEAL = 8  # hexadecimal digits: for all values of a target


class NoSecret(Exception):
    """A value is missing. The message names namespace, Secret and key."""


@dataclass(frozen=True)
class SecretRef:
    """name: as used in the configuration's texts."""

    name: str
    secret: str
    key: str

    def __str__(self) -> str:
        return f"{names.NAMESPACE}/{self.secret}/{self.key}"


def parse_refs(listed: object) -> tuple[SecretRef, ...]:
    """Invalid entries are left out."""
    found = []
    for each in maps(listed):
        ref = inside(each, "valueFrom", "secretKeyRef")
        known = [text(each.get("name")), *(text(inside(ref, part)) for part in ("name", "key"))]
        found += [SecretRef(*known)] if all(known) else []
    return tuple(found)


def written_refs(refs: Iterable[SecretRef]) -> list[dict[str, Any]]:
    """As they are written in a spec."""
    return [
        {"name": each.name, "valueFrom": {"secretKeyRef": {"name": each.secret, "key": each.key}}}
        for each in refs
    ]


def value_of(ref: SecretRef, secret: Mapping[str, Any]) -> str:
    """A Secret's value. Raises NoSecret, whose message shows nothing of it."""
    data = inside(secret, "data", ref.key)
    if data is None:
        raise NoSecret(f"the Secret {names.NAMESPACE}/{ref.secret} has no key {ref.key}")
    try:
        found = base64.b64decode(text(data, LONGEST), validate=True).decode()
    except (ValueError, binascii.Error):
        found = ""
    if not found:
        raise NoSecret(f"the value of {ref} is empty, or no text in UTF-8")
    return found


def seal_of(key: bytes, value: str) -> str:
    """The same for the same value and key."""
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()


def sealed(seals: Mapping[str, str]) -> str:
    """One seal for several, by name; "" for none."""
    if not seals:
        return ""
    return hashlib.sha256(json.dumps(sorted(seals.items())).encode()).hexdigest()[:SEAL]
