"""Networks of k3os.wifi in connman's format (connman-service.config(5)), and the certificates and
keys that connman passes to wpa_supplicant by name, each in a file for root only.

Passphrases are for WPA2 and WPA3: connman 1.44 uses what the access point offers (`psk` includes
SAE); with an EAP method, it logs in with an account.
"""

from __future__ import annotations

import os

from k3os.phases.actions import Action, Remove, WriteFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Place, Value
    from k3os.phases.node import Node

KEY = "k3os.wifi"
# on tmpfs, so what left the configuration is gone after a reboot
DIRECTORY = "/run/k3os/wifi"
# field -> connman's name for its file
FILES = {
    "ca_certificate": "CACertFile",
    "client_certificate": "ClientCertFile",
    "private_key": "PrivateKeyFile",
}
TEXTS = {
    "identity": "Identity",
    "anonymous_identity": "AnonymousIdentity",
    "password": "Passphrase",
    "domain": "DomainSuffixMatch",
    "private_key_password": "PrivateKeyPassphrase",
}


def service(entry: dict[str, Value]) -> str:
    """One network. Its name is in hexadecimal, which can represent any bytes."""
    digits = digits_of(entry)
    lines = [f"[service_{digits}]", "Type=wifi", f"SSID={digits}"]
    if "passphrase" in entry and str(entry["passphrase"].data):
        lines.append(f"Passphrase={escaped(str(entry['passphrase'].data))}")
    if "hidden" in entry and entry["hidden"].data is True:
        lines.append("Hidden=true")
    if "eap" in entry and isinstance(entry["eap"].data, dict):
        lines += _account(entry["eap"].data, digits)
    return "\n".join([*lines, ""])


def digits_of(entry: dict[str, Value]) -> str:
    return str(entry["ssid"].data).encode(errors="surrogateescape").hex()


def _account(fields: dict[str, Value], digits: str) -> list[str]:
    from k3os.config.wireless import INNER, TLS, USUAL_INNER, is_path

    method = str(fields["method"].data)
    lines = ["Security=ieee8021x", f"EAP={method}"]
    if method != TLS:
        inner = str(fields["phase2"].data) if "phase2" in fields else USUAL_INNER
        lines.append(f"Phase2={INNER[method][inner]}")
    for name, word in FILES.items():
        if name in fields:
            text = str(fields[name].data)
            path = text if is_path(text) else _path(digits, name)
            lines.append(f"{word}={escaped(path)}")
    for name, word in TEXTS.items():
        if name in fields:
            lines.append(f"{word}={escaped(str(fields[name].data))}")
    if "private_key" in fields and "private_key_password" not in fields:
        # connman requires one for any key; it is ignored if the key is not encrypted
        lines.append(f"{TEXTS['private_key_password']}=none")
    return lines


def _path(digits: str, name: str) -> str:
    return f"{DIRECTORY}/{digits}-{name}.pem"


def files(entries: list[dict[str, Value]], place: Place, node: Node) -> list[Action]:
    """Write the files of the entries, and remove former ones."""
    from k3os.config.wireless import is_path

    texts: dict[str, str] = {}
    for entry in entries:
        fields = entry["eap"].data if "eap" in entry else {}
        for name in FILES:
            if isinstance(fields, dict) and name in fields and not is_path(str(fields[name].data)):
                texts[_path(digits_of(entry), name)] = str(fields[name].data)
    try:
        present = [f"{DIRECTORY}/{name}" for name in sorted(os.listdir(node.path(DIRECTORY)))]
    except FileNotFoundError:
        present = []
    return [
        *(WriteFile(KEY, place, path, text.encode(), 0o600) for path, text in texts.items()),
        *(Remove(KEY, place, path) for path in present if path not in texts),
    ]


def has_line_break(entry: dict[str, Value]) -> bool:
    """Whether a text that must be a single line has several: it may come from an unchecked
    source."""
    inner = entry["eap"].data if "eap" in entry else {}
    fields = {**entry, **(inner if isinstance(inner, dict) else {})}
    own = (str(each.data) for name, each in fields.items() if name not in (*FILES, "eap"))
    return any("\n" in text for text in own)


def escaped(text: str) -> str:
    """A value in a key file (glib, GKeyFile): backslashes doubled, a leading space as \\s."""
    text = text.replace("\\", "\\\\").replace("\t", "\\t")
    return "\\s" + text[1:] if text.startswith(" ") else text
