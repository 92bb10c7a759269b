"""An NFS server (RFC 1813) with one empty directory, which a test can make unresponsive.

It answers what mount(8) and listing the directory need, on one TCP port for both programs.
"""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOUNT, NFS = 100005, 100003
HANDLE = b"the only directory"
GETATTR, ACCESS, FSSTAT, FSINFO, PATHCONF = 1, 4, 18, 19, 20
READDIRPLUS = 17


def _opaque(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)


# fattr3: a directory, 0755, 2 links, root's, 4096 bytes
ATTRIBUTES = struct.pack(">5I", 2, 0o755, 2, 0, 0) + struct.pack(
    ">QQIIQQ6I", 4096, 4096, 0, 0, 1, 1, *([1, 0] * 3)
)
WITH_ATTRIBUTES = struct.pack(">I", 1) + ATTRIBUTES
OK = struct.pack(">I", 0)


def answer(program: int, procedure: int) -> bytes:
    """The result of a call."""
    if procedure == 0:
        return b""
    if program == MOUNT:
        return OK + _opaque(HANDLE) + struct.pack(">II", 1, 1) if procedure == 1 else b""
    return {
        GETATTR: OK + ATTRIBUTES,
        ACCESS: OK + WITH_ATTRIBUTES + struct.pack(">I", 0x3F),
        FSSTAT: OK + WITH_ATTRIBUTES + struct.pack(">6QI", *([1 << 30] * 6), 0),
        FSINFO: OK
        + WITH_ATTRIBUTES
        + struct.pack(">7IQ2II", *([65536, 65536, 4096] * 2), 4096, 1 << 40, 0, 1, 0x1B),
        PATHCONF: OK + WITH_ATTRIBUTES + struct.pack(">6I", 32, 255, 1, 1, 0, 1),
        READDIRPLUS: OK + WITH_ATTRIBUTES + b"\0" * 8 + struct.pack(">II", 0, 1),
    }.get(procedure, struct.pack(">I", 10004))  # NFS3ERR_NOTSUPP


class Handler(socketserver.BaseRequestHandler):
    """One connection: records of the RPC protocol (RFC 5531)."""

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.request.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        try:
            while True:
                (head,) = struct.unpack(">I", self._read(4))
                call = self._read(head & 0x7FFFFFFF)
                if server.is_gone.is_set():
                    continue  # reads, but does not answer, as if the network lost the replies
                number, _, _, program, _, procedure = struct.unpack(">6I", call[:24])
                # accepted, without a verifier, successful
                reply = struct.pack(">6I", number, 1, 0, 0, 0, 0) + answer(program, procedure)
                self.request.sendall(struct.pack(">I", 0x80000000 | len(reply)) + reply)
        except (EOFError, OSError):
            return  # the client is gone


class Server(socketserver.ThreadingTCPServer):
    """Set is_gone to make it stop answering."""

    allow_reuse_address = True
    daemon_threads = True
    address_family = socket.AF_INET

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.is_gone = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextmanager
def nfs_server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
