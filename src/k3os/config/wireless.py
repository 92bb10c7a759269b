"""k3os.wifi: which fields an enterprise network (WPA-Enterprise, IEEE 802.1X) needs in combination.

How connman uses them: connman-service.config(5). The inner methods, and that a client certificate
needs its key: wpa_supplicant.conf(5).
"""

from __future__ import annotations

from k3os.config.scalars import scalar_text
from k3os.config.value import Node, Value, Wrong, field_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.kinds import Check

TLS = "tls"
# method -> its inner methods: our name -> connman's
INNER = {
    "peap": {"mschapv2": "MSCHAPV2", "gtc": "GTC", "md5": "MD5"},
    "ttls": {
        "mschapv2": "MSCHAPV2",
        "pap": "PAP",
        "chap": "CHAP",
        "mschap": "MSCHAP",
        "gtc": "GTC",
        "md5": "EAP-MD5",
        "eap-mschapv2": "EAP-MSCHAPV2",
    },
}
USUAL_INNER = "mschapv2"
OF_TUNNELS = ("password", "phase2")
OF_CLIENTS = ("client_certificate", "private_key")
PUBLIC = "/etc/ssl/certs/"
KEY_BEGIN, KEY_END = "-----BEGIN ", "PRIVATE KEY-----"


def certificate(check: Check, key: Key, node: Node, path: str) -> Value:
    """PEM text, or the path of a file that exists when the node joins."""
    from k3os.config.certificates import HINT, only_certificates

    text = scalar_text(node, "the text of a certificate")
    if is_path(text):
        return Value(_path(node, text), node.place)
    if KEY_END in text:
        raise Wrong(node.place, "has a private key in it", "write it into private_key")
    try:
        return Value(only_certificates(text), node.place)
    except ValueError as error:
        hint = f"{HINT.replace('- |', '|')}; or a path"
        raise Wrong(node.place, str(error), hint) from None


def private_key(check: Check, key: Key, node: Node, path: str) -> Value:
    """PEM text, or the path of a file that exists when the node joins."""
    text = scalar_text(node, "the text of a private key")
    if is_path(text):
        return Value(_path(node, text), node.place)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    begins = [line for line in lines if line.startswith(KEY_BEGIN) and line.endswith(KEY_END)]
    ends = [line for line in lines if line.startswith("-----END ") and line.endswith(KEY_END)]
    if len(begins) != 1 or len(ends) != 1 or lines[-1] != ends[0] or lines[0] != begins[0]:
        hint = f"write `|`, and below it the lines from {KEY_BEGIN}…{KEY_END} on; or a path"
        raise Wrong(node.place, "is not a private key in PEM form", hint)
    return Value("".join(f"{line}\n" for line in lines), node.place)


def is_path(text: str) -> bool:
    return "\n" not in text.strip() and text.strip().startswith("/")


def _path(node: Node, text: str) -> str:
    word = text.strip()
    if ".." in word.split("/") or word.endswith("/") or not word.isprintable():
        raise Wrong(node.place, f"`{word}` is not a file path", "write where it is")
    return word


def eap(check: Check, value: Value, path: str) -> Value:
    """The login. Raises Wrong."""
    fields = value.data
    assert isinstance(fields, dict)
    method = field_text(fields, "method")
    if method == TLS:
        for name in OF_TUNNELS:
            if name in fields:
                hint = "remove it, or write `method: peap` or `ttls`"
                raise Wrong(fields[name].place, f"method tls knows no {name}", hint)
    elif "password" not in fields:
        raise Wrong(value.place, f"method {method} needs a password", "write `password: …`")
    inner = field_text(fields, "phase2") or USUAL_INNER
    if method in INNER and inner not in INNER[method]:
        known = ", ".join(INNER[method])
        raise Wrong(fields["phase2"].place, f"method {method} knows no {inner}", f"known: {known}")
    given = [name for name in OF_CLIENTS if name in fields]
    lacking = [name for name in OF_CLIENTS if name not in fields]
    if lacking and (given or method == TLS):
        why = f"method {method}" if method == TLS else given[0]
        raise Wrong(value.place, f"{why} needs {lacking[0]}", f"write `{lacking[0]}: …`")
    if "private_key_password" in fields and not given:
        place = fields["private_key_password"].place
        raise Wrong(place, "there is no private_key that it opens", "write `private_key: …`")
    if "ca_certificate" not in fields:
        message = "the server is not checked: anybody can pose as this network"
        hint = "write `ca_certificate: …`, the text or path of the one that signed the server's"
        check.warn(value.place, path, message, hint)
    elif field_text(fields, "ca_certificate").startswith(PUBLIC) and "domain" not in fields:
        message = "any server with a certificate of a public authority is accepted"
        hint = "write the server's `domain: …`, too"
        check.warn(fields["ca_certificate"].place, path, message, hint)
    return value


def networks(check: Check, value: Value, path: str) -> Value:
    """The networks whose fields fit together."""
    assert isinstance(value.data, list)
    right = []
    for item in value.data:
        entry = item.data
        assert isinstance(entry, dict)
        if "passphrase" in entry and "eap" in entry:
            wrong = Wrong(
                entry["passphrase"].place,
                "a network has a passphrase for all, or accounts (eap)",
                "remove one of the two; an account's is `eap: {password: …}`",
            )
            check.error(f"{path}[{item.place.number}]", wrong)
            continue
        right.append(item)
    return Value(list(right), value.place)
