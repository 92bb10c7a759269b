"""Servers that never stop sending: each request has limits for time, bytes and memory."""

import gc
import resource
import time

import pytest

from k3os.errors import UserError
from k3os.system import ftp, http, tftp
from k3os.system.http_failure import HttpError
from tests.unit.hostile_server import BLOCK, hostile
from tests.unit.local_server import local_site, status
from tests.unit.tftp_server import tftp_server

SECONDS = 0.5
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LINE = b"X-Header: 1\r\n"

# name: what is sent first, what is sent repeatedly, seconds in between
DRIPPING = {
    "status line": (b"HTTP/1.1 2", b"0", 0.02),
    "headers": (OK, b"X", 0.02),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.0),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\n", LINE, 0.0),
    "chunk extensions": (CHUNKED + b"1;", b"a", 0.02),
    "body": (OK + b"Content-Length: 900000\r\n\r\n", b"x" * 100, 0.01),
    "body without a length": (OK + b"\r\n", b"x" * 100, 0.01),
}


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def address(server):
    return f"http://127.0.0.1:{server.port}/f"


def late(action):
    """Return the exception that is raised soon after the deadline."""
    began = time.monotonic()
    with pytest.raises(HttpError, match=f"not over after {SECONDS:g} s") as caught:
        action()
    assert SECONDS <= time.monotonic() - began < SECONDS + 2
    assert not caught.value.transient


@pytest.mark.parametrize("part", DRIPPING)
def test_a_server_that_drips_is_given_up_at_the_deadline(part):
    head, again, pause = DRIPPING[part]
    with hostile(head, again, pause=pause) as server:
        late(lambda: http.get(address(server), deadline=SECONDS))


@pytest.mark.parametrize("part", DRIPPING)
def test_a_download_from_a_server_that_drips_is_given_up_at_the_deadline(part, tmp_path):
    head, again, pause = DRIPPING[part]
    with hostile(head, again, pause=pause) as server:
        late(
            lambda: http.download(
                address(server), str(tmp_path / "f"), limit=1 << 20, deadline=SECONDS
            )
        )
    assert not (tmp_path / "f").exists()


# http.client of Python 3.11 leaves a proxy's answer to the garbage collector (3.12 closes it)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_proxy_that_drips_is_given_up_at_the_deadline(monkeypatch):
    with hostile(b"HTTP/1.1 200 OK\r\n", LINE) as server:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.port}")
        late(lambda: http.get("https://k3os.test/f", deadline=SECONDS))
    gc.collect()


def test_the_tries_do_not_go_beyond_the_deadline():
    with local_site() as site:
        began = time.monotonic()
        with pytest.raises(HttpError, match="503"):
            http.get(site.page("/f", status(503)), tries=1000, pause=0.1, deadline=SECONDS)
        assert time.monotonic() - began < SECONDS + 2
        assert len(site.requests) > 1


@pytest.mark.parametrize("head", [OK + b"\r\n", CHUNKED + b"fffffffff\r\n"])
def test_a_body_without_an_end_is_cut_at_the_limit(head, tmp_path):
    with hostile(head, BLOCK) as server:
        with pytest.raises(HttpError, match="larger than 100000 bytes"):
            http.get(address(server), limit=100000, tries=1)
        with pytest.raises(HttpError, match="larger than 100000 bytes"):
            http.download(address(server), str(tmp_path / "f"), limit=100000, tries=1)
        assert server.sent < 20 << 20
    assert (tmp_path / "f.part").stat().st_size <= 100000


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_the_body_of_a_redirect_is_not_read(code):
    head = f"HTTP/1.1 {code} Moved\r\nLocation: /f\r\n\r\n".encode()
    with hostile(head, BLOCK) as server:
        with pytest.raises(HttpError, match="redirects without end"):
            http.get(address(server), tries=1, deadline=20)
        # only what fits into socket buffers
        assert server.sent < 200 << 20


def test_no_redirect_leads_to_ftp_which_urllib_reads_without_an_end():
    with hostile(b"220-hello\r\n", b"220-more\r\n" * 1000, listens_first=False) as ftp:
        place = f"FTP://127.0.0.1:{ftp.port}/f"
        with hostile(f"HTTP/1.1 302 Moved\r\nLocation: {place}\r\n\r\n".encode(), b"") as server:
            with pytest.raises(HttpError, match="redirects from http to ftp://"):
                http.get(address(server), tries=1, deadline=5)
        assert ftp.sent == 0


@pytest.mark.parametrize("code", [401, 404, 500])
def test_the_body_of_a_refusal_is_not_read(code):
    with hostile(f"HTTP/1.1 {code} No\r\n\r\n".encode(), BLOCK) as server:
        with pytest.raises(HttpError, match=str(code)):
            http.get(address(server), tries=1, deadline=20)
        assert server.sent < 20 << 20


@pytest.mark.parametrize(
    "head",
    [
        OK + b"X: ",
        OK,
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 302 Moved\r\nLocation: ",
        CHUNKED + b"1;",
    ],
)
def test_endless_lines_and_headers_take_no_memory(head):
    again = LINE * 1000 if head == OK else BLOCK
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with hostile(head, again) as server:
        with pytest.raises(HttpError):
            http.get(address(server), tries=1, deadline=20)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 30 << 10  # KiB


def test_a_long_reason_of_the_server_does_not_fill_the_message():
    with hostile(b"HTTP/1.1 500 " + b"no " * 20000 + b"\r\n\r\n", b"") as server:
        with pytest.raises(HttpError) as caught:
            http.get(address(server), tries=1)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("head", "again", "pause"),
    [
        (b"220-hello\r\n", b"220-more\r\n", 0.0),
        (b"220-hello\r\n", b"2", 0.02),
        (b"22", b"0" * 1000, 0.0),
        (b"", b"x", 0.02),
    ],
    ids=["lines", "drips", "one line", "no number"],
)
def test_an_ftp_server_that_greets_without_an_end_is_given_up(head, again, pause):
    with hostile(head, again, pause=pause, listens_first=False) as server:
        began = time.monotonic()
        with pytest.raises(UserError):
            ftp.get(f"ftp://127.0.0.1:{server.port}/f", tries=1, deadline=SECONDS)
        assert time.monotonic() - began < SECONDS + 2


def test_a_tftp_server_that_lets_each_block_wait_is_given_up_at_the_deadline():
    with tftp_server(files={"f": b"x" * 512 * 200}, options=False, pause=0.05) as server:
        late(lambda: tftp.get(server.url("f"), deadline=SECONDS, tries=5))
