"""The emulated API server restarts at once, whatever request it is handling."""

import socket
import time

import pytest

from tests.operator.emulator import emulated

REQUEST = b"PATCH /api/v1/nodes/a HTTP/1.1\r\nHost: stub\r\nContent-Length: 100\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", REQUEST[:20], REQUEST, REQUEST + b"{"])
def test_a_request_that_is_half_there_does_not_keep_it_from_going_down(sent: bytes) -> None:
    with emulated() as api:
        with socket.create_connection(("127.0.0.1", api.port), 5) as client:
            client.sendall(sent)
            time.sleep(0.3)  # time to read the first part
            began = time.monotonic()
            api.down()
            assert time.monotonic() - began < 10
        api.up()
