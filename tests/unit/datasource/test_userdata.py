"""Every form of userdata, and what is said about anything else."""

import base64
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.datasource import userdata
from k3os.datasource.userdata import parts
from k3os.errors import UserError

CONFIG = b"hostname: node1\nrun_cmd: [echo]\n"
SCRIPT = b"#!/bin/sh\necho hello\n"


def kinds(data: bytes) -> list[tuple[bool, bytes]]:
    return [(part.is_script, part.data) for part in parts(data)[0]]


def multipart(*bodies: tuple[str, bytes]) -> bytes:
    lines = ["MIME-Version: 1.0", 'Content-Type: multipart/mixed; boundary="XX"', ""]
    for kind, body in bodies:
        lines += ["--XX", f"Content-Type: {kind}", "Content-Transfer-Encoding: base64", ""]
        lines.append(base64.encodebytes(body).decode())
    return "\n".join([*lines, "--XX--", ""]).encode()


@pytest.mark.parametrize("first", [b"", b"#cloud-config\n", b"#k3os-config\n", b"\xef\xbb\xbf"])
def test_a_config_with_any_first_line(first: bytes) -> None:
    assert kinds(first + CONFIG) == [(False, first.replace(b"\xef\xbb\xbf", b"") + CONFIG)]


@pytest.mark.parametrize("data", [CONFIG, SCRIPT])
def test_gzip_and_base64_of_a_config_or_a_script(data: bytes) -> None:
    plain = [(data is SCRIPT, data)]
    assert kinds(data) == plain
    assert kinds(gzip.compress(data)) == plain
    assert kinds(base64.b64encode(data)) == plain
    assert kinds(base64.encodebytes(gzip.compress(data))) == plain
    assert kinds(gzip.compress(base64.b64encode(data))) == plain


@pytest.mark.parametrize(
    "data", [b"", b"\n \n", b"\0\0", gzip.compress(b"", mtime=0), base64.b64encode(b"\n")]
)
def test_nothing_is_no_part_and_no_error(data: bytes) -> None:
    assert parts(data) == ([], [])


def test_several_in_one_keep_their_order() -> None:
    data = multipart(
        ("text/x-shellscript", SCRIPT),
        ("text/cloud-config", CONFIG),
        ("application/gzip", gzip.compress(SCRIPT)),
    )
    assert kinds(data) == [(True, SCRIPT), (False, CONFIG), (True, SCRIPT)]
    assert kinds(gzip.compress(data)) == kinds(data)
    assert kinds(base64.b64encode(data)) == kinds(data)


def test_a_part_that_cannot_be_used_is_named_and_the_others_stay() -> None:
    data = multipart(("text/x-include-url", b"#include\nhttp://x\n"), ("text/plain", CONFIG))
    found, left_out = parts(data)
    assert [part.data for part in found] == [CONFIG]
    assert len(left_out) == 1
    assert left_out[0].startswith("part 1 (text/x-include-url) `#include` is a form")


def test_a_script_written_on_another_system_finds_its_interpreter() -> None:
    assert kinds(b"#!/bin/sh\r\necho\r\n") == [(True, b"#!/bin/sh\necho\n")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x7fELF\x02\x01\x01", "is neither text nor gzip; it begins with 7f 45 4c 46"),
        (b"hostname: \xff\xfe", "is neither text nor gzip"),
        (gzip.compress(CONFIG, mtime=0)[:-6], "is gzip, but its end is missing"),
        (gzip.compress(CONFIG, mtime=0)[:-8] + b"12345678", "is gzip, but damaged"),
        (gzip.compress(b"a" * (2 << 20), mtime=0), "more than 1048576 bytes when it is unpacked"),
        (b"a" * (1 << 20) + b"a", "more than 1048576 bytes"),
        (b"## template: jinja\n#cloud-config\n", "`## template:` is a form k3OS does not have"),
    ],
)
def test_what_is_none_of_them_is_an_error_that_says_so(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parts(data)


def test_wrapping_has_an_end() -> None:
    data = CONFIG
    for _ in range(8):
        data = gzip.compress(data)
    with pytest.raises(UserError, match="wrapped more than"):
        parts(data)


@given(st.binary(max_size=200))
def test_no_bytes_are_anything_but_parts_or_an_error(data: bytes) -> None:
    for wrapped in (data, b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" + data):
        try:
            parts(wrapped)
        except UserError as error:
            assert error.message


def test_so_many_parts_are_no_userdata() -> None:
    few = multipart(*[("text/plain", b"hostname: a\n")] * userdata.MOST)
    assert len(parts(few)[0]) == userdata.MOST
    for body in (b"hostname: a\n", b"#include\n"):
        with pytest.raises(UserError, match="more than 100 parts"):
            parts(multipart(*[("text/plain", body)] * (userdata.MOST + 1)))
