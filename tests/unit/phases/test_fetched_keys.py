"""Keys that are fetched, from a local site in place of GitHub."""

from collections.abc import Iterator

import pytest

from k3os.config.ssh_keys import FORGES
from k3os.phases import ssh_keys
from tests.unit.local_server import Site, content, local_site, status

from .conftest import KEY, OTHER_KEY, Machine

AUTHORIZED = "home/rancher/.ssh/authorized_keys"
CONFIG = "ssh_authorized_keys: ['github:me']\n"


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with local_site() as site:
        monkeypatch.setitem(FORGES, "github:", site.url + "/{}.keys")
        monkeypatch.setattr(ssh_keys, "PAUSE", 0.01)
        yield site


def keys(machine: Machine) -> list[str]:
    return [line for line in machine.text(AUTHORIZED).splitlines() if not line.startswith("#")]


def test_the_keys_of_an_account_are_fetched_and_replaced_when_they_change(
    machine: Machine, github: Site
) -> None:
    github.page("/me.keys", content(f"{KEY}\n{OTHER_KEY}\n".encode()), content(KEY.encode()))
    assert machine.apply("runtime", CONFIG).is_fine
    assert keys(machine) == [KEY, OTHER_KEY]
    assert machine.apply("runtime").is_fine
    assert keys(machine) == [KEY]
    assert {result.result for result in machine.apply("runtime").results} == {"unchanged"}


def test_several_accounts_and_addresses_are_fetched_in_one_go(
    machine: Machine, github: Site
) -> None:
    github.page("/me.keys", content(KEY.encode()))
    github.page("/you.keys", content(OTHER_KEY.encode()))
    third = KEY.replace("AxMj", "AxMk").replace("one@", "three@")
    url = github.page("/third", content(third.encode()))
    report = machine.apply("runtime", f"ssh_authorized_keys: ['github:me', 'github:you', {url}]\n")
    assert report.is_fine
    assert keys(machine) == [KEY, OTHER_KEY, third]


def test_a_try_that_fails_is_followed_by_another(machine: Machine, github: Site) -> None:
    github.page("/me.keys", status(503), status(503), content(KEY.encode()))
    assert machine.apply("runtime", CONFIG).is_fine
    assert keys(machine) == [KEY]


def test_an_account_that_does_not_exist_is_named_and_the_other_keys_are_written(
    machine: Machine, github: Site
) -> None:
    report = machine.apply("runtime", f"ssh_authorized_keys: ['github:gone', '{KEY}']\n")
    assert [result.reason for result in report.failed] == [
        "github:gone does not exist there; check the name"
    ]
    assert keys(machine) == [KEY]


def test_what_was_fetched_before_stays_when_the_site_fails(machine: Machine, github: Site) -> None:
    github.page("/me.keys", content(KEY.encode()), status(500))
    machine.apply("runtime", CONFIG)
    report = machine.apply("runtime")
    assert len(report.failed) == 1
    assert keys(machine) == [KEY]
    machine.apply("boot")
    assert keys(machine) == [KEY]


def test_a_page_that_is_no_list_of_keys_is_refused(machine: Machine, github: Site) -> None:
    github.page("/me.keys", content(b"<html>Please log in</html>"))
    report = machine.apply("runtime", CONFIG)
    assert "has no ssh public keys" in report.failed[0].reason
    assert keys(machine) == []


def test_a_plain_address_works_too(machine: Machine, github: Site) -> None:
    url = github.page("/keys.txt", content(f"# mine\n{KEY}\n".encode()))
    assert machine.apply("runtime", f"ssh_authorized_keys: {url}\n").is_fine
    assert keys(machine) == [KEY]
