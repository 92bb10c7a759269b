"""The HTTP client against servers that behave well, badly, or not at all."""

import os
import socket
import ssl
import stat
import threading
import time

import pytest

from k3os.errors import UserError
from k3os.system.http import download, get
from k3os.system.http_failure import ChecksumError, HttpError
from tests.unit.local_server import (
    content,
    cut_off,
    local_site,
    moved,
    sha256,
    stalling,
    status,
)

BODY = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def site():
    with local_site() as site:
        yield site


def fetch(url, path, **options):
    return download(url, str(path), **{"pause": 0.001, "timeout": 5.0, "limit": 1 << 30, **options})


def test_get_returns_the_body(site):
    assert get(site.page("/a", content(b"hello"))) == b"hello"


def test_get_refuses_a_body_over_the_limit(site):
    with pytest.raises(HttpError, match="larger than 100 bytes"):
        get(site.page("/a", content(BODY)), limit=100)


def test_get_sends_the_headers_it_is_given(site):
    get(site.page("/a", content(b"")), headers={"Metadata-Flavor": "x"})
    assert site.requests[0][1]["Metadata-Flavor"] == "x"


def test_a_download_is_complete_has_its_mode_and_leaves_nothing_else(site, tmp_path):
    digest = fetch(site.page("/f", content(BODY)), tmp_path / "f", mode=0o755)
    assert digest == sha256(BODY)
    assert (tmp_path / "f").read_bytes() == BODY
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o755
    assert os.listdir(tmp_path) == ["f"]


def test_a_download_replaces_an_older_file_only_when_complete(site, tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(HttpError):
        fetch(site.page("/f", cut_off(BODY, 100)), tmp_path / "f", tries=1)
    assert (tmp_path / "f").read_bytes() == b"old"
    fetch(site.page("/f", content(BODY)), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY


def test_progress_ends_with_the_whole_size(site, tmp_path):
    seen = []
    fetch(site.page("/f", content(BODY)), tmp_path / "f", progress=lambda *a: seen.append(a))
    assert seen[-1] == (len(BODY), len(BODY))


def test_a_wrong_checksum_is_an_error_and_leaves_no_file(site, tmp_path):
    with pytest.raises(ChecksumError, match=f"expected sha256 {'0' * 64}, got {sha256(BODY)}"):
        fetch(site.page("/f", content(BODY)), tmp_path / "f", sha256="0" * 64)
    assert os.listdir(tmp_path) == []


def test_a_404_is_not_tried_again_and_names_the_address(site, tmp_path):
    with pytest.raises(HttpError) as caught:
        fetch(site.url + "/missing", tmp_path / "f")
    assert caught.value.status == 404
    assert str(caught.value).startswith(f"{site.url}/missing: there is nothing")
    assert len(site.requests) == 1
    assert os.listdir(tmp_path) == []


def test_a_503_is_tried_again(site, tmp_path):
    url = site.page("/f", status(503), status(503), content(BODY))
    assert fetch(url, tmp_path / "f") == sha256(BODY)
    assert len(site.requests) == 3


def test_a_server_that_stays_broken_ends_after_the_tries(site, tmp_path):
    with pytest.raises(HttpError, match="the server answers 500"):
        fetch(site.page("/f", status(500)), tmp_path / "f", tries=3)
    assert len(site.requests) == 3


def test_the_server_may_ask_to_wait(site, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    get(site.page("/f", status(429, Retry_After="7"), status(503), content(b"")), pause=1.0)
    assert slept == [7.0, 2.0]


def test_a_cut_off_body_is_resumed_where_it_ended(site, tmp_path):
    url = site.page("/f", cut_off(BODY, 3000, etag='"v1"'), content(BODY, etag='"v1"'))
    assert fetch(url, tmp_path / "f") == sha256(BODY)
    assert site.ranges() == [None, "bytes=3000-"]
    assert site.requests[1][1]["If-Range"] == '"v1"'


def test_a_file_that_changed_in_between_starts_again(site, tmp_path):
    url = site.page("/f", cut_off(b"o" * 9000, 3000, etag='"v1"'), content(BODY, etag='"v2"'))
    assert fetch(url, tmp_path / "f") == sha256(BODY)


def test_without_a_validator_or_checksum_nothing_is_resumed(site, tmp_path):
    url = site.page("/f", cut_off(BODY, 3000), content(BODY))
    assert fetch(url, tmp_path / "f") == sha256(BODY)
    assert site.ranges() == [None, None]


def test_a_server_without_ranges_sends_all_of_it_again(site, tmp_path):
    url = site.page("/f", cut_off(BODY, 3000), content(BODY, ranges=False))
    assert fetch(url, tmp_path / "f", sha256=sha256(BODY)) == sha256(BODY)
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_server_that_sends_another_range_is_not_believed(site, tmp_path):
    other = status(206, Content_Range="bytes 0-9/10")
    url = site.page("/f", cut_off(BODY, 3000), other, content(BODY))
    assert fetch(url, tmp_path / "f", sha256=sha256(BODY)) == sha256(BODY)
    assert site.ranges() == [None, "bytes=3000-", None]


def test_the_piece_of_an_earlier_process_is_used_with_a_checksum(site, tmp_path):
    (tmp_path / "f.part").write_bytes(BODY[:4000])
    assert fetch(site.page("/f", content(BODY)), tmp_path / "f", sha256=sha256(BODY))
    assert site.ranges() == ["bytes=4000-"]


@pytest.mark.parametrize("piece", [b"z" * 4000, b"z" * len(BODY), b"z" * (len(BODY) + 5)])
def test_a_wrong_piece_of_an_earlier_process_does_no_harm(site, tmp_path, piece):
    (tmp_path / "f.part").write_bytes(piece)
    fetch(site.page("/f", content(BODY)), tmp_path / "f", sha256=sha256(BODY))
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_complete_piece_of_an_earlier_process_is_not_fetched_again(site, tmp_path):
    (tmp_path / "f.part").write_bytes(BODY)
    fetch(site.page("/f", content(BODY)), tmp_path / "f", sha256=sha256(BODY))
    assert (tmp_path / "f").read_bytes() == BODY
    assert len(site.requests) == 1


def test_an_old_piece_without_a_checksum_is_thrown_away(site, tmp_path):
    (tmp_path / "f.part").write_bytes(b"z" * 4000)
    fetch(site.page("/f", content(BODY)), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_truncated_body_says_how_much_came_and_keeps_it(site, tmp_path):
    with pytest.raises(HttpError, match=f"ended after 3000 of {len(BODY)} bytes"):
        fetch(site.page("/f", cut_off(BODY, 3000)), tmp_path / "f", tries=1)
    assert (tmp_path / "f.part").stat().st_size == 3000


def test_a_server_that_stalls_is_given_up(site, tmp_path):
    with pytest.raises(HttpError, match=r"stalls: \(almost\) nothing came for 0.2 s"):
        fetch(site.page("/f", stalling(BODY, 100)), tmp_path / "f", timeout=0.2, tries=1)


def test_a_trickle_is_a_stall_too(site, tmp_path):
    page = stalling(BODY, 0, trickle=0.05)
    with pytest.raises(HttpError, match="stalls"):
        fetch(site.page("/f", page), tmp_path / "f", timeout=0.3, tries=1)


def test_a_server_that_accepts_and_says_nothing_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(HttpError, match="stalls"):
            fetch(url, tmp_path / "f", timeout=0.2, tries=1)


def test_a_refused_connection_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(HttpError, match="refused") as caught:
        fetch(f"http://127.0.0.1:{port}/x", tmp_path / "f", tries=2)
    assert caught.value.transient


def test_an_unknown_host_is_named(tmp_path):
    with pytest.raises(HttpError, match="cannot be resolved"):
        get("http://no-such-host.invalid/", tries=1)


def test_redirects_are_followed(site, tmp_path):
    site.page("/real", content(BODY))
    assert fetch(site.page("/f", moved("/real")), tmp_path / "f") == sha256(BODY)


def test_a_redirect_loop_ends(site):
    with pytest.raises(HttpError, match="redirects without end"):
        get(site.page("/a", moved("/a")))


def test_a_redirect_to_a_local_file_is_refused(site):
    with pytest.raises(HttpError):
        get(site.page("/a", moved("file:///etc/passwd")), tries=1)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y", "/etc/passwd", "http://[x/", ""]
)
def test_what_is_no_web_address_is_an_error_of_the_user(url):
    with pytest.raises(HttpError):
        get(url, tries=1)


def test_a_password_goes_to_the_server_but_not_into_messages_or_to_another_host(site):
    with local_site() as other:
        other.page("/b", content(b"x"))
        url = site.page("/a", moved(f"{other.url}/b")).replace("http://", "http://joe:s%40cret@")
        assert get(url) == b"x"
        assert site.requests[0][1]["Authorization"] == "Basic am9lOnNAY3JldA=="
        assert "Authorization" not in other.requests[0][1]
    with pytest.raises(HttpError) as caught:
        get(url.replace("/a", "/missing"))
    assert "cret" not in str(caught.value)


def test_the_proxy_of_the_environment_is_used(site, monkeypatch):
    monkeypatch.setenv("http_proxy", site.url)
    site.page("http://far.example/f", content(b"by proxy"))
    assert get("http://far.example/f") == b"by proxy"


def test_no_proxy_is_honoured(site, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert get(site.page("/a", content(b"direct"))) == b"direct"


def test_an_untrusted_certificate_is_not_tried_again(tmp_path):
    from k3os.system.run import run

    key, certificate = tmp_path / "key", tmp_path / "certificate"
    run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key)),
            *("-out", str(certificate)),
        ]
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            accepted.append(1)
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True)
                except OSError as error:
                    accepted.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(HttpError, match="TLS certificate is not trusted") as caught:
            get(f"https://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()
    assert "clock" in caught.value.hint
    assert not caught.value.transient


def test_two_processes_do_not_write_into_one_file(site, tmp_path):
    import fcntl

    with open(tmp_path / "f.part", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is downloading"):
            fetch(site.page("/f", content(BODY)), tmp_path / "f")


def test_a_missing_directory_is_named(site, tmp_path):
    with pytest.raises(UserError, match="cannot be written: No such file"):
        fetch(site.page("/f", content(BODY)), tmp_path / "no" / "f")


def test_a_full_disk_is_named(site, tmp_path):
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(UserError, match="cannot be written: File too large"):
            fetch(site.page("/f", content(BODY)), tmp_path / "f")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def dated(body, changed, *, cut=None):
    """A page of a server that has dates and no ETags."""

    def page(handler):
        headers = {"Last_Modified": changed}
        if handler.headers.get("If-Range") == changed:
            start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
            headers["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            handler.answer(206, body[start:], **headers)
        else:
            handler.answer(200, body[:cut], length=str(len(body)), **headers)

    return page


def test_without_etags_the_date_tells_whether_the_file_is_the_same(site, tmp_path):
    old, new = "Tue, 01 Jan 2019 00:00:00 GMT", "Wed, 02 Jan 2019 00:00:00 GMT"
    url = site.page("/same", dated(BODY, old, cut=3000), dated(BODY, old))
    assert fetch(url, tmp_path / "same") == sha256(BODY)
    assert site.ranges() == [None, "bytes=3000-"]
    assert site.requests[1][1]["If-Range"] == old
    url = site.page("/other", dated(b"o" * 9000, old, cut=3000), dated(BODY, new))
    assert fetch(url, tmp_path / "other") == sha256(BODY)


def test_a_file_whose_date_may_still_be_given_to_another_is_not_resumed(site, tmp_path):
    from email.utils import formatdate

    tomorrow = formatdate(time.time() + 86400, usegmt=True)
    url = site.page("/f", dated(BODY, tomorrow, cut=3000), dated(BODY, tomorrow))
    assert fetch(url, tmp_path / "f") == sha256(BODY)
    assert site.ranges() == [None, None]
