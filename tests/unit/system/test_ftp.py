"""Reading a file from an FTP server on the loopback interface."""

import socket

import pytest

from k3os.system import ftp
from k3os.system.http_failure import HttpError
from tests.unit.ftp_server import ftp_server

BODY = bytes(range(256)) * 100


def get(url, **options):
    return ftp.get(url, **{"timeout": 5.0, "tries": 1, "pause": 0.01, **options})


def test_a_file_is_read_as_it_is_by_an_anonymous_user():
    with ftp_server(files={"dir/my config.yaml": BODY}) as server:
        assert get(server.url("dir/my%20config.yaml")) == BODY
    assert server.commands[0] == "USER anonymous"
    assert "TYPE I" in server.commands


def test_user_and_password_of_the_address_go_to_the_server_and_not_into_messages():
    with ftp_server(files={"f": BODY}, user=("joe", "s@cret")) as server:
        assert get(server.url("f", "joe:s%40cret@")) == BODY
        with pytest.raises(HttpError) as caught:
            get(server.url("f", "joe:wr0ng@"))
    assert "refuses the login" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


def test_a_missing_file_is_named_and_not_asked_for_again():
    with ftp_server(files={}) as server:
        with pytest.raises(HttpError, match="there is no such file") as caught:
            get(server.url("no.yaml"), tries=3)
    assert caught.value.where == server.url("no.yaml")
    assert sum(line.startswith("RETR") for line in server.commands) == 1


def test_a_file_over_the_limit_is_refused():
    with ftp_server(files={"f": BODY}) as server:
        with pytest.raises(HttpError, match="larger than 1000 bytes"):
            get(server.url("f"), limit=1000)


def test_a_busy_server_is_asked_again():
    with ftp_server(files={"f": BODY}, greetings=["421 too many users"]) as server:
        assert get(server.url("f"), tries=2) == BODY


def test_a_server_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(HttpError, match="stalls"):
            get(f"ftp://127.0.0.1:{listener.getsockname()[1]}/f", timeout=0.2)


@pytest.mark.parametrize("url", ["ftp:///f", "ftp://host/", "ftp://h:port/f"])
def test_what_names_no_file_is_an_error_of_the_user(url):
    with pytest.raises(HttpError):
        get(url)


def test_an_address_cannot_send_commands_of_its_own():
    with ftp_server(files={"f": BODY}) as server:
        with pytest.raises(HttpError, match="not a valid address"):
            get(server.url("f%0d%0aDELE%20f"))
    assert not any(line.startswith("DELE") for line in server.commands)
