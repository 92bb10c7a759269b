"""The contents of write_files: base64 (RFC 4648) and gzip (RFC 1952) to bytes."""

from __future__ import annotations

LARGEST = 64 << 20  # unpacked


def decode(content: str, encoding: str) -> bytes:
    """The bytes of a file. Raises ValueError with what is wrong."""
    data = content.encode(errors="surrogateescape")
    if "64" in encoding:
        import binascii

        try:
            data = binascii.a2b_base64(b"".join(data.split()), strict_mode=True)
        except ValueError as error:
            raise ValueError(f"the content is not base64: {error}") from None
    elif encoding.startswith("gz"):
        # gzip data is not text: it came through !!binary, so it is also base64
        return decode(content, f"{encoding}+b64")
    if encoding.startswith("gz"):
        import zlib

        try:
            unpacker = zlib.decompressobj(31)
            data = unpacker.decompress(data, LARGEST)
        except zlib.error as error:
            raise ValueError(f"the content is not gzip: {error}") from None
        if not unpacker.eof:
            raise ValueError("the gzip content is cut off, or larger than 64 MiB")
    return data
