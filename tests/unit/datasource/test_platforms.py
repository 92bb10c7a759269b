"""Each platform's protocol, against a local site that acts as the platform."""

import os
import time
from collections.abc import Callable, Iterator

import pytest

from k3os.datasource import aws, azure, media, packet, query, scaleway, search, service
from k3os.datasource.found import Found
from k3os.datasource.search import Answer
from k3os.system.http_direct import Direct
from tests.unit.local_server import Site, content, local_site, moved, stalling, status

from .conftest import KEY, OTHER_KEY
from .platforms import PLATFORMS, Given
from .platforms import aws as play_aws
from .platforms import gcp as play_gcp

USERDATA = b"#cloud-config\nhostname: x\n"
FULL = Given("node1.example", [KEY, OTHER_KEY], USERDATA)
BASES = (service.LINK_LOCAL, packet.BASE, scaleway.BASE)

Ask = Callable[..., Answer]


@pytest.fixture
def site() -> Iterator[Site]:
    with local_site() as found:
        yield found


@pytest.fixture
def ask(site: Site, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask one source at the local site."""
    monkeypatch.setattr(media, "block_devices", list)
    monkeypatch.setattr(service, "PAUSES", (0.01, 0.01))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nothing listens there

    def one(name: str) -> Answer:
        (answer,) = search.search([name], lambda line: None, dict.fromkeys(BASES, site.url))
        return answer

    return one


def test_the_other_name_of_a_platform_works_and_is_the_one_reported(site: Site, ask: Ask) -> None:
    PLATFORMS["packet"](site, FULL)
    assert given(ask("equinix")).source == "equinix"


def given(answer: Answer) -> Found:
    assert answer.found is not None, answer.reason
    return answer.found


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="binds a port below 1024")
EACH = [pytest.param(name, marks=needs_root) if name == "scaleway" else name for name in PLATFORMS]


@pytest.mark.parametrize("name", EACH)
def test_a_platform_gives_hostname_keys_and_userdata(name: str, site: Site, ask: Ask) -> None:
    PLATFORMS[name](site, FULL)
    found = given(ask(name))
    assert (found.source, found.hostname) == (name, "node1.example")
    assert found.ssh_keys == [KEY, OTHER_KEY]
    assert found.userdata == USERDATA


@pytest.mark.parametrize("name", EACH)
def test_a_machine_without_keys_and_userdata_is_found_all_the_same(
    name: str, site: Site, ask: Ask
) -> None:
    PLATFORMS[name](site, Given("node1", [], b""))
    found = given(ask(name))
    assert (found.hostname, found.ssh_keys, found.userdata) == ("node1", [], b"")


@pytest.mark.parametrize("name", list(PLATFORMS))
def test_another_platforms_service_is_not_taken_for_this_one(
    name: str, site: Site, ask: Ask
) -> None:
    for other in PLATFORMS:
        if other != name and not {name, other} <= {"aws", "vultr"}:
            PLATFORMS[other](site, FULL)
    answer = ask(name)
    assert answer.found is None
    assert not answer.is_broken
    assert "answers as another platform" in answer.reason


@pytest.mark.parametrize("name", list(PLATFORMS))
def test_a_redirect_is_not_followed(name: str, site: Site, ask: Ask) -> None:
    with local_site() as elsewhere:
        for play in PLATFORMS.values():
            play(elsewhere, FULL)
        for path in elsewhere.pages:
            site.pages[path] = moved(elsewhere.url + path)
        answer = ask(name)
        assert answer.found is None
        assert elsewhere.requests == []
        assert "redirects to" in answer.reason


@pytest.mark.parametrize("name", list(PLATFORMS))
def test_an_address_that_refuses_is_tried_within_the_limit_and_then_not_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "NOT_THERE_SECONDS", 0.3)
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.1)
    addresses = dict.fromkeys(BASES, "http://127.0.0.1:9")
    started = time.monotonic()
    (answer,) = search.search([name], print, addresses)
    assert 0.1 < time.monotonic() - started < 5
    assert (answer.found, answer.is_broken) == (None, False)
    assert "refused" in answer.reason


def test_a_service_that_comes_up_a_moment_later_is_found(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.05)
    PLATFORMS["hetzner"](site, FULL)
    connect, tries = Direct.connect, []

    def later(self: Direct, *arguments: object) -> object:
        tries.append(1)
        if len(tries) < 4:
            raise OSError(101, "Network is unreachable")
        return connect(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Direct, "connect", later)
    (answer,) = search.search(["hetzner"], print, dict.fromkeys(BASES, site.url))
    assert given(answer).userdata == USERDATA


def test_an_address_where_nobody_answers_is_asked_once_in_a_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(query, "NOT_THERE_SECONDS", 0.3)
    monkeypatch.setattr(query, "ANNOUNCE_SECONDS", 0.1)
    monkeypatch.setattr(service, "NOT_THERE_SECONDS", 0.3)
    # RFC 5737: an address for documentation, which never answers
    addresses = dict.fromkeys(BASES, "http://192.0.2.1")
    names = ["aws", "gcp", "openstack", "vultr", "digitalocean", "hetzner", "azure"]
    started = time.monotonic()
    answers = search.search(names, lambda line: None, addresses)
    assert time.monotonic() - started < 5
    assert not any(answer.is_broken for answer in answers)
    assert "did not answer before" in answers[-1].reason


@pytest.mark.parametrize("name", EACH)
def test_userdata_that_is_too_large_is_an_error_and_hides_nothing_else(
    name: str, site: Site, ask: Ask
) -> None:
    PLATFORMS[name](site, Given("node1", [KEY], b"#" * ((1 << 20) + 1)))
    answer = ask(name)
    if name in ("azure", "digitalocean"):  # everything is in one answer
        assert answer.found is None
        assert answer.is_broken
        assert "is larger than 1048576 bytes" in answer.reason
        return
    found = given(answer)
    assert (found.hostname, found.ssh_keys, found.userdata) == ("node1", [KEY], b"")
    (problem,) = found.problems
    assert problem.startswith("the userdata: ")
    assert "is larger than 1048576 bytes" in problem


@pytest.mark.parametrize("name", ["openstack", "packet", "scaleway", "vultr", "digitalocean"])
def test_an_answer_that_is_not_json_is_an_error(name: str, site: Site, ask: Ask) -> None:
    site.pages["*"] = content(b"<html>it works</html>")
    answer = ask(name)
    assert answer.is_broken
    assert "JSON" in answer.reason or "not what it should be" in answer.reason


def test_a_service_that_is_busy_is_asked_again(site: Site, ask: Ask) -> None:
    PLATFORMS["openstack"](site, FULL)
    page = site.pages["/openstack/latest/meta_data.json"]
    site.page("/openstack/latest/meta_data.json", status(503), status(429), page)
    assert given(ask("openstack")).hostname == "node1.example"
    site.page("/openstack/latest/user_data", status(500))
    found = given(ask("openstack"))
    assert (found.hostname, found.userdata) == ("node1.example", b"")
    assert "500" in found.problems[0]


def test_a_service_that_stalls_is_given_up_and_its_address_not_asked_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "ANNOUNCE_SECONDS", 0.05)
    monkeypatch.setattr(query, "SLOW_SECONDS", 0.5)
    site.pages["*"] = stalling(b"{" * 1000, 1, trickle=0.05)
    started = time.monotonic()
    addresses = dict.fromkeys(BASES, site.url)
    slow, same_address = search.search(["hetzner", "gcp"], lambda line: None, addresses)
    assert time.monotonic() - started < 5
    assert slow.is_broken
    assert "was not done in" in slow.reason
    assert "did not answer before" in same_address.reason


def test_aws_is_asked_with_a_token_and_without_one_where_there_is_none(
    site: Site, ask: Ask
) -> None:
    play_aws(site, FULL)
    given(ask("aws"))
    assert "x-aws-ec2-metadata-token" in str(site.requests[-1][1]).lower()
    play_aws(site, FULL, version_1=True)
    del site.pages["/latest/api/token"]
    assert given(ask("aws")).userdata == USERDATA


def test_all_answers_of_a_service_together_have_a_limit(
    site: Site, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_aws(site, FULL)
    root = "/latest/meta-data/public-keys"
    site.pages[f"{root}/"] = content(b"".join(b"%d=a\n" % number for number in range(100)))
    for number in range(100):
        site.pages[f"{root}/{number}/openssh-key"] = content(b"x" * 10_000)
    monkeypatch.setattr(service, "MOST", 200_000)
    answer = ask("aws")
    assert answer.found is None and "200000 bytes in all" in answer.reason
    assert sum("openssh-key" in path for path, _ in site.requests) < 25


def test_keys_are_looked_for_in_so_many_lines() -> None:
    started = time.process_time()
    found = Found("aws", ssh_keys=["a-key\n" * 300_000, KEY])
    assert found.ssh_keys == [] and time.process_time() - started < 1


def test_a_token_lives_longer_than_the_search(site: Site, ask: Ask) -> None:
    now = 1000.0
    play_aws(site, FULL, clock=lambda: now)
    given(ask("aws"))
    assert aws.TTL_SECONDS > query.SLOW_SECONDS


def test_a_token_that_is_lost_on_its_way_costs_little_and_the_hop_limit_is_named(
    site: Site, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "TOKEN_WAIT", 0.2)
    play_aws(site, FULL)
    site.pages["/latest/api/token"] = stalling(b"", 0)
    answer = ask("aws")
    assert "HttpPutResponseHopLimit" in answer.reason
    assert answer.is_broken
    play_aws(site, FULL, version_1=True)
    site.pages["/latest/api/token"] = stalling(b"", 0)
    assert given(ask("aws")).hostname == "node1.example"


def test_gcp_leaves_out_the_projects_keys_where_they_are_blocked(site: Site, ask: Ask) -> None:
    play_gcp(site, FULL, blocked=True)
    assert given(ask("gcp")).ssh_keys == [KEY]


def test_gcp_must_sign_its_answer(site: Site, ask: Ask) -> None:
    site.pages["*"] = content(b"some.host")
    answer = ask("gcp")
    assert not answer.is_broken
    assert "answers without Metadata-Flavor: Google" in answer.reason


def test_azure_takes_custom_data_from_the_cd_where_there_is_no_user_data(
    site: Site, ask: Ask, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ovf-env.xml").write_text(
        '<ns0:Environment xmlns:ns0="http://schemas.dmtf.org/ovf/environment/1">'
        "<ns1:LinuxProvisioningConfigurationSet><ns1:HostName>x</ns1:HostName>"
        "<ns1:CustomData>I2Nsb3VkLWNvbmZpZwo=</ns1:CustomData>"
        "</ns1:LinuxProvisioningConfigurationSet></ns0:Environment>"
    )
    monkeypatch.setattr(azure, "first", lambda label, read, kinds, own: read(str(tmp_path)))
    PLATFORMS["azure"](site, Given("node1", [], b""))
    assert given(ask("azure")).userdata == b"#cloud-config\n"
    PLATFORMS["azure"](site, FULL)
    assert given(ask("azure")).userdata == USERDATA
