"""The questions of the interactive installation, answered by a list."""

import pytest

from k3os.config.check import check_text
from k3os.config.value import plain
from k3os.install.questions import CONFIGURE, INSTALL, Terminal, ask
from k3os.system.disks import Device

VDA = Device("vda", 20 * 10**9, "vda", model="QEMU", serial="one")
SDB = Device("sdb", 8 * 10**9, "sdb")


class Person:
    """Types the answers in their order; records questions and output."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.seen: list[str] = []
        self.terminal = Terminal(self.read, self.read, self.seen.append)

    def read(self, question: str) -> str:
        self.seen.append(question)
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)

    def ask(self, *disks: Device, has_login: bool = False, interfaces: tuple[str, ...] = ("eth0",)):
        answers = ask(self.terminal, disks, has_login=has_login, interfaces=interfaces)
        assert self.answers == [], "every answer was asked for"
        return answers


def config(answers) -> dict:
    values, problems = check_text(answers.config().encode(), "answers")
    assert not problems, [str(each) for each in problems]
    return {path: plain(value) for path, value in values.items()}


def test_the_only_disk_is_taken_and_named() -> None:
    person = Person("", "", "", "", "github:me", "", "")
    answers = person.ask(VDA)
    assert (answers.what, answers.device) == (INSTALL, "/dev/vda")
    assert any("/dev/vda" in line and "20.0 GB" in line for line in person.seen)
    assert config(answers) == {"ssh_authorized_keys": ["github:me"]}


def test_of_several_disks_one_is_chosen_by_its_number() -> None:
    person = Person("1", "7", "2", "http://server/config.yaml")
    answers = person.ask(VDA, SDB)
    assert answers.device == "/dev/sdb"
    assert answers.config_url == "http://server/config.yaml"
    assert "  type a number from 1 to 2" in person.seen


def test_a_node_that_joins_needs_an_address_and_a_token() -> None:
    person = Person(
        *("1", "", "2", "", "server", "https://server:6443", "", "secret: #x"),
        *("github:me, gitlab:you", "pass", "other", "pass", "pass", "bad_name", "node-1"),
    )
    assert config(person.ask(VDA)) == {
        "k3os.server_url": "https://server:6443",
        "k3os.token": "secret: #x",
        "k3os.password": "pass",
        "ssh_authorized_keys": ["github:me", "gitlab:you"],
        "hostname": "node-1",
    }


def test_somebody_must_be_able_to_log_in() -> None:
    person = Person("", "", "", "", "", "", "", "password", "password", "")
    assert config(person.ask(VDA)) == {"k3os.password": "password"}
    assert "  nobody could log in: give a key or a password" in person.seen


def test_with_a_login_of_the_medium_nothing_more_is_needed() -> None:
    person = Person("", "", "", "", "", "", "")
    assert person.ask(VDA, has_login=True).config() == ""


def test_wifi_is_asked_for_where_there_is_a_radio() -> None:
    person = Person("", "", "", "", "github:me", "", "", "y", 'café "x"', "pass phrase")
    answers = person.ask(VDA, interfaces=("eth0", "wlan0"))
    assert config(answers)["k3os.wifi"] == [{"ssid": 'café "x"', "passphrase": "pass phrase"}]


def test_without_a_disk_the_running_system_is_configured() -> None:
    person = Person("http://server/config.yaml")
    assert person.ask().what == CONFIGURE


def test_a_person_who_leaves_in_the_middle_is_let_go() -> None:
    with pytest.raises(EOFError):
        Person("1").ask(VDA)
