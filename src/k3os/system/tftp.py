"""Reading one small file by TFTP: `get`, for networks that boot machines.

A client of RFC 1350 in octet mode that asks for larger blocks (RFC 2347, 2348) and accepts what the
server offers. Addresses: RFC 3617. It only reads, and only trusts the server that it asked.

Not curl(1), which reads FTP for us: 7.88 accepts blocks from another port of the server's machine
as the file's and succeeds with a wrong file, and it does not retry without options if a server
refuses them.
"""

from __future__ import annotations

import socket
import struct
import time

from k3os.system.deadline import Deadline
from k3os.system.http_failure import HttpError, explain
from k3os.system.numbers import whole
from k3os.system.retry import retry

PORT = 69
READ, DATA, ACKNOWLEDGE, ERROR, OPTIONS = 1, 3, 4, 5, 6
DEADLINE = 300.0
BLOCK = 512
WANTED_BLOCK = 1428  # fits into an Ethernet frame with IPv6
UNKNOWN_TRANSFER, BAD_OPTION = 5, 8
# seconds to wait for an answer before the last packet is sent again
WAITS = (1.0, 1.0, 2.0, 4.0, 8.0)
LARGEST_PACKET = 65535 + 4
# RFC 1350, section 5, "Error Codes": code to (message, hint)
ERRORS = {
    1: ("there is no such file on the server", "check the path"),
    2: ("the server refuses access", "the file must be readable by all"),
    3: ("the server has no room", ""),
    4: ("the server does not understand the request", "is it a TFTP server?"),
    6: ("the server says that the file exists", ""),
    7: ("the server knows no such user", ""),
}


def get(
    url: str,
    *,
    limit: int = 1 << 20,
    tries: int = 4,
    pause: float = 1.0,
    waits: tuple[float, ...] = WAITS,
    deadline: float = DEADLINE,
) -> bytes:
    """The file at tftp://host[:port]/path, at most limit bytes or an error. Raises HttpError.

    waits: seconds of silence before each resend of a packet; after the last one the server is given
    up. tries: how often to repeat all that, for a network that is not up yet. deadline: seconds for
    everything.
    """
    end = Deadline(deadline)
    return retry(lambda: _get(url, limit, waits, end), tries, pause, until=end.until)


def _get(url: str, limit: int, waits: tuple[float, ...], end: Deadline) -> bytes:
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
        path = unquote(parts.path.partition(";")[0]).removeprefix("/")
        if not parts.hostname or not path or "\0" in path:
            raise HttpError("names no file on a server", "write tftp://host/path", url)
        addresses = socket.getaddrinfo(parts.hostname, parts.port or PORT, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, server = addresses[0]
        with socket.socket(family, kind, protocol) as connection:
            return _Transfer(connection, server, url, limit, waits, end).receive(path)
    except (OSError, ValueError) as error:
        raise explain(url, error, sum(waits)) from error


class _Transfer:
    """One transfer: with its first answer the server chooses a port."""

    def __init__(
        self,
        connection: socket.socket,
        server: tuple[object, ...],
        url: str,
        limit: int,
        waits: tuple[float, ...],
        end: Deadline,
    ) -> None:
        self.connection = connection
        self.asked = self.server = server
        self.port = 0
        self.url = url
        self.limit = limit
        self.waits = waits
        self.end = end
        self.sent = b""

    def receive(self, path: str) -> bytes:
        """Ask for a file and receive it block by block."""
        size = BLOCK
        self._send(_request(path, blksize=WANTED_BLOCK))
        kind, first = self._answer(DATA, OPTIONS, number=1)
        if kind == ERROR:  # the server knows no options
            self.port, self.server = 0, self.asked
            self._send(_request(path))
            kind, first = self._answer(DATA, number=1)
        if kind == OPTIONS:
            size = self._block_size(first)
            self._send(struct.pack("!HH", ACKNOWLEDGE, 0))
            kind, first = self._answer(DATA, number=1)
        body, block, number = bytearray(first), first, 1
        while True:
            if len(body) > self.limit:
                self._refuse(self.server, 3, "too large")
                raise HttpError(
                    f"is larger than {self.limit} bytes", "is the address right?", self.url
                )
            self.end.check(self.url)
            self._send(struct.pack("!HH", ACKNOWLEDGE, number))
            if len(block) < size:
                return bytes(body)
            number = (number + 1) % 65536
            block = self._answer(DATA, number=number)[1]
            body += block

    def _send(self, packet: bytes) -> None:
        self.sent = packet
        self.connection.sendto(packet, self.server)

    def _answer(self, *kinds: int, number: int) -> tuple[int, bytes]:
        """The next packet of one of these kinds; for DATA, the block with this number.

        While none comes, the last packet is sent again. (ERROR, b"") if an option is refused.
        """
        for turn, wait in enumerate(self.waits):
            if turn:
                self.connection.sendto(self.sent, self.server)
            end = time.monotonic() + wait
            while (left := min(end, self.end.until) - time.monotonic()) > 0:
                packet = self._packet(left)
                if packet is None:
                    break
                kind = struct.unpack_from("!H", packet)[0]
                code = struct.unpack_from("!H", packet, 2)[0]
                if kind == ERROR and code == BAD_OPTION and OPTIONS in kinds:
                    return ERROR, b""
                if kind == ERROR:
                    raise self._refused(code, packet[4:])
                if kind == DATA and DATA in kinds and code == number:
                    return DATA, packet[4:]
                if kind == OPTIONS and OPTIONS in kinds:
                    return OPTIONS, packet[2:]
                # a duplicate: keep waiting for the right one. Answering it would double all packets
                # from here on (RFC 1123, 4.2.3.1)
            self.end.check(self.url)
        raise HttpError(
            f"the server does not answer (for {sum(self.waits):g} s)",
            "is it there, and does a firewall let UDP through?",
            self.url,
            transient=True,
        )

    def _packet(self, seconds: float) -> bytes | None:
        """The next whole packet of this transfer, None when time is up."""
        self.connection.settimeout(seconds)
        try:
            packet, sender = self.connection.recvfrom(LARGEST_PACKET)
        except TimeoutError:
            return None
        if sender[0] != self.server[0] or len(packet) < 4:
            return b"\0\0\0\0"
        if not self.port:
            self.port = sender[1]
            self.server = sender
        if sender[1] != self.port:
            self._refuse(sender, UNKNOWN_TRANSFER, "unknown transfer")
            return b"\0\0\0\0"
        return packet

    def _refuse(self, to: tuple[object, ...], code: int, words: str) -> None:
        self.connection.sendto(struct.pack("!HH", ERROR, code) + words.encode() + b"\0", to)

    def _refused(self, code: int, words: bytes) -> HttpError:
        text = words.partition(b"\0")[0].decode(errors="replace")
        message, hint = ERRORS.get(code, ("the server does not give the file", ""))
        return HttpError(f"{message} ({text or f'error {code}'})", hint, self.url, status=code)

    def _block_size(self, options: bytes) -> int:
        """The server's answer to the option (RFC 2347): at most what was asked for."""
        fields = options.split(b"\0")
        given = dict(zip(map(bytes.lower, fields[::2]), fields[1::2], strict=False))
        text = given.get(b"blksize", str(BLOCK).encode())
        size = whole(text, 8, WANTED_BLOCK)
        if size is None:
            self._refuse(self.server, BAD_OPTION, "blksize")
            words = text.decode(errors="replace")
            raise HttpError(f"the server wants blocks of {words} bytes", "", self.url)
        return size


def _request(path: str, **options: int) -> bytes:
    """A read request: file, mode, and options as names and numbers, each ended by a zero."""
    words = [path, "octet"]
    for name, value in options.items():
        words += [name, str(value)]
    return struct.pack("!H", READ) + b"".join(word.encode() + b"\0" for word in words)
