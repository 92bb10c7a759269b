"""The download in install.sh: a wrong file stops it, with a reason."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unit.ftp_server import ftp_server
from tests.unit.hostile_server import hostile
from tests.unit.local_server import Site, content, cut_off, local_site, moved, sha256, status
from tests.unit.tls import certificate, server_context

SCRIPT = Path(__file__).parents[3] / "install.sh"
ISO = bytes(range(256)) * 500
SUM = sha256(ISO)
OTHER = "0" * 64


class Sites:
    """http and https; every test has the ISO at both."""

    def __init__(self, plain: Site, tls: Site, directory: Path) -> None:
        self.plain, self.tls, self.directory = plain, tls, directory

    def address(self, scheme: str, path: str = "/d/k3os.iso") -> str:
        return (self.tls if scheme == "https" else self.plain).url + path

    def beside(self, page: object) -> None:
        for site in (self.plain, self.tls):
            site.page("/d/k3os.iso.sha256", page)  # type: ignore[arg-type]

    def download(self, url: str, insecure: str = "", limit: str = "") -> tuple[int, str]:
        """Run the script's `download`, without its last lines, which need a disk. limit: replaces
        its own."""
        functions = SCRIPT.read_text().partition('\nparse "$@"\n')[0]
        functions = functions.replace("ulimit -f 33554432", limit) if limit else functions
        program = f'{functions}\niso=$1 work=$2 insecure=$3\ndownload\necho "took $iso"\n'
        environment = {
            name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")
        }
        done = subprocess.run(
            ["/bin/sh", "-c", program, "install.sh", url, str(self.directory), insecure],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**environment, "CURL_CA_BUNDLE": certificate()[0]},
        )
        if done.returncode == 0:
            assert done.stdout == f"took {self.directory}/k3os.iso\n"
            assert (self.directory / "k3os.iso").read_bytes() == ISO
        for path in self.directory.iterdir():
            path.unlink()
        return done.returncode, done.stderr

    def asked(self) -> list[str]:
        return [path for site in (self.plain, self.tls) for path, _ in site.requests]


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    context: ssl.SSLContext = server_context()
    with ExitStack() as stack:
        plain, tls = (stack.enter_context(local_site(each)) for each in (None, context))
        for site in (plain, tls):
            site.page("/d/k3os.iso", content(ISO))
        yield Sites(plain, tls, tmp_path)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("digest", [SUM, SUM.upper()])
def test_a_sum_behind_the_address_is_enough(sites: Sites, scheme: str, digest: str) -> None:
    assert sites.download(f"{sites.address(scheme)}#sha256={digest}")[0] == 0
    assert sites.asked() == ["/d/k3os.iso"]


@pytest.mark.parametrize(
    "fragment",
    [
        "",
        "sha256=",
        "sha256=?",
        f"SHA256={SUM}",
        f"sha512={SUM}{SUM}",
        f"md5={SUM[:32]}",
        f"sha256={SUM[1:]}",
        f"sha256={SUM}0",
        f"sha256={SUM[1:]}g",
        f"sha256={SUM}&x",
        f"sha256={SUM}#sha256={SUM}",
        f"x#sha256={SUM}",
        SUM,
    ],
)
@pytest.mark.parametrize("insecure", ["", "yes"])
def test_a_fragment_that_is_no_sum_stops_before_anything_is_asked(
    sites: Sites, fragment: str, insecure: str
) -> None:
    code, said = sites.download(f"{sites.address('https')}#{fragment}", insecure)
    assert code == 1
    assert "is not a checksum; write #sha256=<64 hex digits>" in said
    assert sites.asked() == []


@pytest.mark.parametrize(
    "text",
    [
        SUM,
        f"{SUM}\n",
        f"{SUM.upper()}\r\n",
        f"{SUM}  k3os.iso\n",
        f"{SUM} *./k3os.iso\n\n",
        f"SHA256 (k3os.iso) = {SUM}\n",
    ],
)
def test_a_sum_beside_it_is_compared(sites: Sites, text: str) -> None:
    sites.beside(content(text.encode()))
    assert sites.download(sites.address("https"))[0] == 0
    sites.beside(content(text.replace(SUM, OTHER).replace(SUM.upper(), OTHER).encode()))
    code, said = sites.download(sites.address("https"))
    assert code == 1
    assert f"its SHA-256 is not {OTHER}" in said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "<html>\n<body>Log in</body></html>\n",
        f"<html>\n{SUM}\n</html>\n",
        f"{SUM}  k3os.iso\n{OTHER}  other.iso\n",
        f"SHA256 (k3os.iso) = {SUM[1:]}\n",
        f"SHA512 (k3os.iso) = {SUM}{SUM}\n",
        f"sha256:{SUM}\n",
        f"{SUM[:40]}  k3os.iso\n",
        f"# {SUM}\n",
        "\0" * 64,
    ],
)
def test_what_is_no_sum_beside_it_stops(sites: Sites, text: str) -> None:
    sites.beside(content(text.encode()))
    code, said = sites.download(sites.address("https"))
    assert code == 1
    assert "is not a checksum" in said
    assert "/d/k3os.iso" not in sites.asked()


@pytest.mark.parametrize("answer", [400, 401, 403, 500, 502, 503])
def test_a_server_that_does_not_say_whether_there_is_a_sum_stops(sites: Sites, answer: int) -> None:
    sites.beside(status(answer))
    code, said = sites.download(sites.address("https"))
    assert code == 1
    assert f"the server answers {answer}" in said
    assert "/d/k3os.iso" not in sites.asked()


def test_a_sum_that_does_not_end_stops(sites: Sites) -> None:
    sites.beside(content(b"x" * (1 << 20)))
    code, _ = sites.download(sites.address("https"))
    assert code == 1
    assert "/d/k3os.iso" not in sites.asked()


def test_a_server_that_is_not_there_stops(sites: Sites) -> None:
    code, said = sites.download("https://127.0.0.1:9/k3os.iso")
    assert code == 1
    assert "k3os.iso.sha256: the server answers 000" in said


@pytest.mark.parametrize("answer", [404, 410])
def test_by_https_there_may_be_no_sum_and_that_is_said(sites: Sites, answer: int) -> None:
    sites.beside(status(answer))
    code, said = sites.download(sites.address("https"))
    assert code == 0
    assert "there is no " in said
    assert "is not checked against a sum" in said


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_without_a_sum_only_https_will_do(sites: Sites, scheme: str) -> None:
    sites.beside(content(SUM.encode()))
    code, said = sites.download(sites.address("http").replace("http", scheme))
    assert code == 1
    assert "can be changed on its way" in said
    assert sites.asked() == []


def test_the_option_whose_name_says_so_takes_http(sites: Sites) -> None:
    assert sites.download(sites.address("http"), "yes")[0] == 0
    sites.beside(content(OTHER.encode()))
    assert sites.download(sites.address("http"), "yes")[0] == 1
    sites.beside(status(500))
    assert sites.download(sites.address("http"), "yes")[0] == 1


@pytest.mark.parametrize("name", ["k3os.iso", "k3os.iso.sha256"])
def test_no_redirect_leads_from_https_to_http(sites: Sites, name: str) -> None:
    sites.beside(content(SUM.encode()))
    sites.plain.page(f"/away/{name}", content(ISO if name.endswith("iso") else SUM.encode()))
    sites.tls.page(f"/d/{name}", moved(f"{sites.plain.url}/away/{name}"))
    code, _ = sites.download(sites.address("https"))
    assert code == 1
    assert sites.plain.requests == []


def test_a_redirect_that_stays_encrypted_is_followed(sites: Sites) -> None:
    sites.beside(moved(f"{sites.tls.url}/sum"))
    sites.tls.page("/sum", content(SUM.encode()))
    assert sites.download(sites.address("https"))[0] == 0


def test_the_sum_is_asked_for_with_the_same_query(sites: Sites) -> None:
    sites.tls.page("/d/k3os.iso?key=1", content(ISO))
    sites.tls.page("/d/k3os.iso.sha256?key=1", content(SUM.encode()))
    assert sites.download(sites.address("https", "/d/k3os.iso?key=1"))[0] == 0


def test_a_broken_download_goes_on_where_it_ended(sites: Sites) -> None:
    sites.plain.page("/d/k3os.iso", cut_off(ISO, 70000), content(ISO))
    assert sites.download(f"{sites.address('http')}#sha256={SUM}")[0] == 0
    assert sites.plain.ranges() == [None, "bytes=70000-"]


@pytest.mark.parametrize("beside", [None, SUM, OTHER])
def test_by_ftp_a_sum_beside_it_is_compared_and_may_be_missing(
    sites: Sites, beside: str | None
) -> None:
    files = {"d/k3os.iso": ISO}
    if beside is not None:
        files["d/k3os.iso.sha256"] = beside.encode()
    with ftp_server(files=files) as ftp:
        code, said = sites.download(ftp.url("d/k3os.iso"), "yes")
    assert code == (1 if beside == OTHER else 0), said
    assert ("is not checked against a sum" in said) == (beside is None)


def test_an_iso_without_an_end_does_not_fill_the_disk(sites: Sites) -> None:
    with hostile(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536) as server:
        script = SCRIPT.read_text()
        assert script.count("ulimit -f 33554432") == 1  # 16 GiB
        code, said = sites.download(
            f"http://127.0.0.1:{server.port}/k3os.iso#sha256={SUM}", limit="ulimit -f 4096"
        )
        assert server.sent < 100 << 20
    assert code == 1 and "is too large" in said
