"""The forms of userdata: a config.yaml, a `#!` script, gzip or base64 of either, or several in a
MIME multipart text (RFC 2046). A first line `#cloud-config` or `#k3os-config` is a comment.

The content decides; nothing is run or written here.
"""

from __future__ import annotations

import binascii

from k3os.datasource.found import LARGEST
from k3os.errors import UserError

GZIP = b"\x1f\x8b"
MIME = (b"content-type:", b"mime-version:")
MOST = 100  # parts; each is a source of the configuration
DEEPEST = 5  # e.g. gzip in base64 in a part of a multipart text, plus a spare level
CONTROL = frozenset(range(32)) - frozenset(b"\t\n\r\f") | {127}
# cloud-init formats that look like comments: they must not be ignored silently
FOREIGN = (
    *(b"#include", b"#cloud-boothook", b"#part-handler", b"#upstart-job", b"## template:"),
    *(b"#cloud-config-archive", b"#cloud-config-jsonp", b"#ps1"),
)


class Part:
    """One config.yaml, or one script."""

    __slots__ = ("data", "is_script")

    def __init__(self, data: bytes, *, is_script: bool = False) -> None:
        self.data = data
        self.is_script = is_script


def parts(data: bytes) -> tuple[list[Part], list[str]]:
    """The parts in order, and which of several were left out. Raises UserError."""
    try:
        return _parts(data, 0)
    except UserError:
        raise
    except Exception as error:  # hostname and keys of the same source are still used
        from k3os.system.bug import report

        raise UserError(f"cannot be read: {report(error)}") from error


def _parts(data: bytes, depth: int) -> tuple[list[Part], list[str]]:
    if len(data) > LARGEST:
        raise UserError(f"has more than {LARGEST} bytes", "let it fetch what is large")
    if depth > DEEPEST:
        raise UserError(f"is wrapped more than {DEEPEST} times", "wrap it once")
    data = data.removeprefix(b"\xef\xbb\xbf")
    start = data.strip(b"\0").lstrip()[:64].lower()
    if not start:
        return [], []
    if data.startswith(GZIP):
        return _parts(unzip(data), depth + 1)
    if start.startswith(b"#!"):
        return [Part(script(data.lstrip()), is_script=True)], []
    if start.startswith(MIME):
        return multipart(data.lstrip(), depth)
    for form in FOREIGN:
        if start.startswith(form):
            hint = "k3OS reads a config.yaml, a script that begins with #!, or several as MIME"
            raise UserError(f"`{form.decode()}` is a form k3OS does not have", hint)
    if (inner := base64(data)) is not None:
        return _parts(inner, depth + 1)
    if not is_text(data):
        raise UserError(
            f"is neither text nor gzip; it begins with {data[:4].hex(' ')}",
            "give a config.yaml, a script that begins with #!, or gzip or base64 of one",
        )
    return [Part(data)], []


def unzip(data: bytes) -> bytes:
    """gzip's content (RFC 1952), if it is not too large."""
    import zlib

    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(data, LARGEST + 1)
    except zlib.error as error:
        raise UserError(f"is gzip, but damaged: {error}") from None
    if len(unpacked) > LARGEST:
        raise UserError(f"has more than {LARGEST} bytes when it is unpacked")
    if not unpacker.eof:
        raise UserError("is gzip, but its end is missing", "is there a limit to its size?")
    return unpacked


def base64(data: bytes) -> bytes | None:
    """The decoded base64; None for anything else. A config.yaml is never valid base64: it has a
    colon."""
    packed = b"".join(data.split())
    try:
        decoded = binascii.a2b_base64(packed, strict_mode=True)
    except ValueError:
        return None
    return decoded if decoded.startswith(GZIP) or is_text(decoded) else None


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return not any(byte in CONTROL for byte in data)


def script(data: bytes) -> bytes:
    """The script without carriage returns: the kernel would take them for part of the interpreter's
    name."""
    return data.replace(b"\r\n", b"\n") if data.partition(b"\n")[0].endswith(b"\r") else data


def multipart(data: bytes, depth: int) -> tuple[list[Part], list[str]]:
    """The parts of a MIME text, each by its content; unusable ones are reported."""
    import email.policy
    from email import message_from_bytes

    message = message_from_bytes(data, policy=email.policy.compat32)
    parts: list[Part] = []
    left_out: list[str] = []
    leaves = [leaf for leaf in message.walk() if not leaf.is_multipart()]
    if len(leaves) > MOST:
        raise UserError(f"has more than {MOST} parts", "put what belongs together into one")
    for number, leaf in enumerate(leaves, 1):
        payload = leaf.get_payload(decode=True)
        name = f"part {number} ({leaf.get_filename() or leaf.get_content_type()})"
        try:
            inner, more = _parts(payload if isinstance(payload, bytes) else b"", depth + 1)
        except UserError as error:
            left_out.append(f"{name} {error}")
            continue
        parts += inner
        left_out += more
    if message.is_multipart() or parts or left_out:
        return parts, left_out
    raise UserError("is a MIME text without parts")
