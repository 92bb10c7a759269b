"""Joins standard input and output (one connection out of a virtual machine) to a local port.

QEMU starts it for each connection to an address of `guestfwd` (qemu(1), "-netdev user").
"""

import socket
import sys
import threading


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def main() -> None:
    inside = socket.socket(fileno=0)
    outside = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    threading.Thread(target=pump, args=(inside, outside), daemon=True).start()
    pump(outside, inside)


if __name__ == "__main__":
    main()
