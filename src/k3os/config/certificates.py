"""k3os.ca_certificates: one or several certificates as PEM text (RFC 7468), or the location of such
a text.

Text around them (comments, as in .pem files from browsers) is dropped. Whether a certificate is
valid is up to those that use it; here it only has to be one. Imports only the standard library.
"""

from __future__ import annotations

from k3os.config import fetched
from k3os.config.scalars import scalar_text
from k3os.config.value import Value, Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.kinds import Check
    from k3os.config.value import Node

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
HINT = f"write the text of a .pem file: `- |`, and below it the lines from {BEGIN} on"


def certificates(check: Check, key: Key, node: Node, path: str) -> Value:
    from k3os.config.kinds import each_of

    def one(item: Node, _path: str) -> Value:
        text = scalar_text(item, "the text of a certificate")
        if "PRIVATE KEY-----" in text:
            raise Wrong(item.place, "contains a private key, which nobody else may see", HINT)
        if fetched.is_elsewhere(text):
            return Value(fetched.check(item, text), item.place)
        try:
            return Value(only_certificates(text), item.place)
        except ValueError as error:
            raise Wrong(item.place, str(error), HINT) from None

    return each_of(check, node, path, one)


def only_certificates(text: str) -> str:
    """The text without anything but certificates. Raises ValueError with what is wrong."""
    found = in_pem(text)
    if not found:
        raise ValueError("is not a certificate in PEM form")
    for number, lines in enumerate(found, 1):
        if not is_der(lines[1:-1]):
            which = f"certificate {number} in it" if len(found) > 1 else "it"
            raise ValueError(f"{which} is damaged or cut off")
    return "".join(f"{line}\n" for lines in found for line in lines)


def in_pem(text: str) -> list[list[str]]:
    """The lines of each certificate, from BEGIN to END; one without an END counts, too."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        line = line.strip()
        if line == BEGIN:
            found.append([])
            inside = True
        if inside and line:
            found[-1].append(line)
        if line == END:
            inside = False
    return found


def is_der(lines: list[str]) -> bool:
    """Whether it is base64 of exactly one ASN.1 sequence (X.690)."""
    import binascii

    try:
        data = binascii.a2b_base64("".join(lines).encode(), strict_mode=True)
    except ValueError:
        return False
    if len(data) < 4 or data[0] != 0x30:
        return False
    size, start = data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    return len(data) == start + size
