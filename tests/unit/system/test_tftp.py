"""The TFTP client against a server on the loopback interface that loses and doubles packets."""

import socket

import pytest

from k3os.system import tftp
from k3os.system.http_failure import HttpError
from tests.unit.tftp_server import tftp_server

QUICK = (0.3, 0.3, 0.3)
# not a multiple of either block size
BODY = bytes(range(256)) * 33 + b"end"


def get(url, **options):
    return tftp.get(url, **{"waits": QUICK, "tries": 1, **options})


def test_a_file_comes_in_larger_blocks_when_the_server_knows_them():
    with tftp_server(files={"a/b.yaml": BODY}) as server:
        assert get(server.url("a/b.yaml")) == BODY
    assert server.requests == [[b"a/b.yaml", b"octet", b"blksize", b"1428"]]
    assert server.sent == list(range(10))


def test_a_server_that_ignores_options_sends_blocks_of_512_bytes():
    with tftp_server(files={"f": BODY}, options=False) as server:
        assert get(server.url("f")) == BODY
    assert server.sent == list(range(1, 18))


def test_a_server_that_refuses_options_is_asked_without():
    with tftp_server(files={"f": BODY}, refuses_options=True) as server:
        assert get(server.url("f")) == BODY
    assert server.requests[1] == [b"f", b"octet"]


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 2048])
def test_a_file_that_ends_with_a_block_is_whole(size):
    with tftp_server(files={"f": b"x" * size}) as server:
        assert get(server.url("f")) == b"x" * size


@pytest.mark.parametrize("block", [0, 1, 2, 9])
def test_a_lost_packet_is_sent_again(block):
    with tftp_server(files={"f": BODY}, lose={block}) as server:
        assert get(server.url("f")) == BODY
    assert server.sent.count(block) == 2


def test_a_packet_that_comes_twice_counts_once_and_is_answered_once():
    with tftp_server(files={"f": BODY}, double={0, 1, 3, 8}) as server:
        assert get(server.url("f")) == BODY
    assert server.sent == list(range(10))


def test_a_lost_acknowledgement_is_sent_again():
    with tftp_server(files={"f": BODY}, lose_acknowledgement={0, 2}) as server:
        assert get(server.url("f")) == BODY


def test_a_lost_request_is_sent_again():
    with tftp_server(files={"f": BODY}, silent=1) as server:
        assert get(server.url("f")) == BODY
    assert len(server.requests) == 2


def test_another_port_can_put_nothing_into_the_file():
    with tftp_server(files={"f": BODY}, stranger=True) as server:
        assert get(server.url("f")) == BODY
    assert server.strangers == [b"\0\5\0\5unknown transfer\0"]


def test_a_missing_file_is_named_in_words_and_not_asked_for_again():
    with tftp_server(files={}) as server:
        with pytest.raises(HttpError) as caught:
            get(server.url("no.yaml"), tries=3)
    assert str(caught.value).startswith(
        f"{server.url('no.yaml')}: there is no such file on the server (no such file here)"
    )
    assert len(server.requests) == 1


def test_a_file_over_the_limit_is_refused_and_the_server_told():
    with tftp_server(files={"f": BODY}) as server:
        with pytest.raises(HttpError, match="larger than 3000 bytes"):
            get(server.url("f"), limit=3000)
    assert server.sent == [0, 1, 2, 3]


def test_a_server_that_wants_larger_blocks_than_asked_for_is_refused():
    with tftp_server(files={"f": BODY}, wrong_size=9000) as server:
        with pytest.raises(HttpError, match="wants blocks of 9000 bytes"):
            get(server.url("f"))


def test_a_server_that_is_not_there_is_given_up_after_all_waits():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(HttpError, match=r"does not answer \(for 0.3 s\)") as caught:
            get(f"tftp://127.0.0.1:{port}/f", waits=(0.1, 0.1, 0.1), tries=2, pause=0.01)
        nobody.setblocking(False)
        packets = [nobody.recv(100) for _ in range(6)]
        with pytest.raises(BlockingIOError):
            nobody.recv(100)
    assert caught.value.transient
    assert set(packets) == {b"\0\1f\0octet\0blksize\x001428\0"}


def test_the_number_of_a_block_begins_again_after_65535():
    body = b"0123456789abcdef" * (8 * 65540)
    with tftp_server(files={"f": body}, options=False) as server:
        assert get(server.url("f"), limit=len(body)) == body


@pytest.mark.parametrize("url", ["tftp:///f", "tftp://host/", "tftp://h:port/f", "tftp://h/a%00b"])
def test_what_names_no_file_is_an_error_of_the_user(url):
    with pytest.raises(HttpError):
        get(url)


def test_the_mode_behind_the_path_is_no_part_of_it():
    with tftp_server(files={"my file": b"x"}) as server:
        assert get(server.url("my%20file;mode=octet")) == b"x"
