"""A TFTP server on the loopback interface (RFC 1350, 2347, 2348) that can lose and double packets.

It is written from the standards and shares no code with the client.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

RESEND_AFTER = 0.1
GIVE_UP_AFTER = 20


@dataclass
class TftpServer:
    """files: path -> bytes. lose, double: numbers of data blocks, once each; silent: number of
    requests that are not answered. options: whether it supports any; refuses_options: with error 8.
    pause: seconds before each block."""

    files: dict[str, bytes]
    options: bool = True
    refuses_options: bool = False
    wrong_size: int = 0
    silent: int = 0
    pause: float = 0.0
    lose: set[int] = field(default_factory=set)
    lose_acknowledgement: set[int] = field(default_factory=set)
    double: set[int] = field(default_factory=set)
    port: int = 0
    requests: list[list[bytes]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    strangers: list[bytes] = field(default_factory=list)
    stranger: bool = False

    def url(self, path: str) -> str:
        return f"tftp://127.0.0.1:{self.port}/{path}"

    def serve(self, listener: socket.socket) -> None:
        while True:
            packet, client = listener.recvfrom(2048)
            if packet == b"stop":
                return
            assert packet[:2] == b"\0\1", packet
            words = packet[2:].split(b"\0")[:-1]
            self.requests.append(words)
            if self.silent:
                self.silent -= 1
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as transfer:
                transfer.bind(("127.0.0.1", 0))
                transfer.settimeout(RESEND_AFTER)
                self._answer(transfer, client, words)

    def _answer(self, transfer: socket.socket, client: tuple[str, int], words: list[bytes]) -> None:
        body = self.files.get(words[0].decode())
        if body is None:
            transfer.sendto(b"\0\5\0\1no such file here\0", client)
            return
        size = 512
        asked = dict(zip(words[2::2], words[3::2], strict=True))
        if asked and self.refuses_options:
            transfer.sendto(b"\0\5\0\x08no options\0", client)
            return
        if asked and self.options:
            size = min(int(asked[b"blksize"]), 1024)
            told = self.wrong_size or size
            if not self._exchange(transfer, client, 0, b"\0\6blksize\0%d\0" % told):
                return
        number = 1
        while True:
            block = body[(number - 1) * size : number * size]
            data = struct.pack("!HH", 3, number % 65536) + block
            if not self._exchange(transfer, client, number, data) or len(block) < size:
                return
            number += 1

    def _exchange(
        self, transfer: socket.socket, client: tuple[str, int], number: int, packet: bytes
    ) -> bool:
        """Send until it is acknowledged; False if the client does not want any more."""
        for _ in range(GIVE_UP_AFTER):
            self.sent.append(number)
            time.sleep(self.pause)
            if number in self.lose:
                self.lose.remove(number)
            else:
                for _ in range(2 if number in self.double else 1):
                    transfer.sendto(packet, client)
            if self.stranger:
                self._disturb(client)
            try:
                while True:
                    answer, _ = transfer.recvfrom(2048)
                    if answer[:2] == b"\0\5":
                        return False
                    if number in self.lose_acknowledgement:
                        self.lose_acknowledgement.remove(number)
                    elif answer == struct.pack("!HH", 4, number % 65536):
                        return True
            except TimeoutError:
                continue
        return False

    def _disturb(self, client: tuple[str, int]) -> None:
        """Send a stray block from another port."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.settimeout(5)
            other.bind(("127.0.0.1", 0))
            other.sendto(b"\0\3\0\1foreign", client)
            self.strangers.append(other.recvfrom(2048)[0])
        self.stranger = False


@contextmanager
def tftp_server(**behaviour: object) -> Iterator[TftpServer]:
    server = TftpServer(**behaviour)  # type: ignore[arg-type]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.serve, args=(listener,))
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"stop", ("127.0.0.1", server.port))
            thread.join()
