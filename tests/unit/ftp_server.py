"""An FTP server on the loopback interface: the commands of RFC 959 that reading a file needs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO


class _Data:
    """The second connection, which the client opens."""

    def __init__(self) -> None:
        self.listener: socket.socket | None = None

    def listen(self) -> int:
        self.close()
        self.listener = socket.create_server(("127.0.0.1", 0))
        port: int = self.listener.getsockname()[1]
        return port

    def send(self, body: bytes) -> None:
        assert self.listener is not None
        with self.listener.accept()[0] as transfer:
            transfer.sendall(body)

    def close(self) -> None:
        if self.listener is not None:
            self.listener.close()


@dataclass
class FtpServer:
    """files: path to bytes; user: the only one ("" for anybody). greetings: the first replies."""

    files: dict[str, bytes]
    user: tuple[str, str] = ("", "")
    greetings: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    port: int = 0

    def url(self, path: str, who: str = "") -> str:
        return f"ftp://{who}127.0.0.1:{self.port}/{path}"

    def serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if self._talk(connection):
                    return

    def _talk(self, connection: socket.socket) -> bool:
        with connection.makefile("r", newline="\r\n", encoding="utf-8") as lines:
            data = _Data()
            try:
                return self._converse(connection, lines, data)
            finally:
                data.close()

    def _converse(self, connection: socket.socket, lines: IO[str], data: _Data) -> bool:
        def reply(text: str) -> None:
            connection.sendall(f"{text}\r\n".encode())

        reply(self.greetings.pop(0) if self.greetings else "220 ready")
        given = ""
        for line in lines:
            command, _, argument = line.strip().partition(" ")
            self.commands.append(line.strip())
            if command == "USER":
                given = argument
                reply("331 password")
            elif command == "PASS":
                known = self.user[0] == "" or self.user == (given, argument)
                reply("230 in" if known else "530 Login incorrect.")
            elif command == "TYPE":
                reply("200 ok")
            elif command in ("EPSV", "PASV"):
                port = data.listen()
                passive = f"227 ok (127,0,0,1,{port >> 8},{port & 255})"
                reply(f"229 ok (|||{port}|)" if command == "EPSV" else passive)
            elif command == "RETR" and argument not in self.files:
                reply("550 Failed to open file.")
            elif command == "RETR":
                reply("150 here")
                try:
                    data.send(self.files[argument])
                except ConnectionError:
                    return False  # the client has enough and hangs up
                reply("226 done")
            elif command == "STOP":
                return True
            elif command == "QUIT":
                reply("221 bye")
                return False
            else:
                reply("502 no")
        return False


@contextmanager
def ftp_server(**behaviour: object) -> Iterator[FtpServer]:
    server = FtpServer(**behaviour)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.serve, args=(listener,))
        thread.start()
        try:
            yield server
        finally:
            with socket.create_connection(("127.0.0.1", server.port)) as last:
                last.sendall(b"STOP\r\n")
            thread.join()
