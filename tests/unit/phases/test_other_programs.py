"""Every text of a configuration that goes into another program's file, with everything that has a
meaning there: the program reads the file and the unchanged text, or it is refused with a reason.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from k3os.errors import UserError
from k3os.generation import grub
from k3os.phases import shutdown
from k3os.phases.apply import apply_phase
from k3os.phases.connman import with_settings
from k3os.phases.environment import LOGINS
from k3os.phases.managed_block import replace_block
from k3os.phases.node import Node
from k3os.phases.password import is_crypt, set_field
from k3os.phases.resolv import compose

from . import grammars
from .conftest import KEY, Machine
from .test_foreign_grammar import places

NASTY = (
    *('"', "'", "\\", "x\\", '\\"', "''", '"x"', "`id`", "$HOME", "$(id)", "${A}"),
    *("%n", "%%", ";", "a;b", "{", "}", "{{ x }}", "#", "#x", "x #y", "x#y", ":", "a:b"),
    *("=", "a=b", ",", "a,b", "|", "&", "*", "?", "!", "~", "@", "<", ">", "(", ")", "[", "]"),
    *("[General]", "^", " ", "a b", " a", "a ", "\t", "a\tb", "-", "--", "-x", "- a", "a: b"),
    *("? a", "!!str a", "&a", "|-", "\n", "a\nb", "a\n", "\r", "a\r\nb", "\x00", "\x1b[2J"),
    *("\x7f", "\x85", "\u2028", "\u00a0", "é", "日本", "😀", "\ufeff", "²", "null", "true", "0x1"),
    *("1e3", ".", "..", "../x", "/", "//", "a" * 300, "$6$a:b$" + "x" * 22),
)
EXTRA = {
    "where k3s keeps its data": lambda text: {"k3os": {"k3s_args": [f"--data-dir=/var/{text}"]}},
    "a key's name": lambda text: {"ssh_authorized_keys": [f"{KEY} {text}"]},
    "an argument alone": lambda text: {"k3os": {"k3s_args": ["server", text]}},
    "a token": lambda text: {"k3os": {"token": text}},
    "a token of an agent": lambda text: {"k3os": {"k3s_args": ["agent"], "token": text}},
    "a secret in an argument": lambda text: {"k3os": {"k3s_args": [f"--token={text}"]}},
    "the server's path": lambda text: {"k3os": {"server_url": f"https://a/{text}"}},
}
PLACES = [*places(""), *EXTRA]


def configuration(place: str, text: str) -> dict[str, Any]:
    return EXTRA[place](text) if place in EXTRA else places(text)[place]


@pytest.fixture
def ready(machine: Machine) -> Machine:
    """A node with files that others have written."""
    machine.put("run/connman/resolv.conf", "nameserver 10.0.0.1\nsearch a.example\n")
    machine.put("etc/environment", "PATH=/usr/bin\n")
    machine.put("etc/connman/main.conf", "[General]\nAllowHostnameUpdates=true\n")
    machine.put("home/rancher/.ssh/authorized_keys", f"{KEY}\n")
    return machine


@pytest.mark.parametrize("place", PLACES)
def test_other_programs_read_what_is_written_for_them(ready: Machine, place: str) -> None:
    for text in NASTY:
        config = json.dumps(configuration(place, text), ensure_ascii=False)
        for phase in ("boot", "runtime"):
            report = ready.apply(phase, config)
            assert not [each.reason for each in report.results if each.is_bug], text
        try:
            grammars.read_all(ready.root)
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{place}: {text!r}: {error}") from error


@pytest.mark.parametrize("place", PLACES)
def test_a_byte_that_is_no_text_keeps_no_other_program_from_its_file(
    ready: Machine, place: str
) -> None:
    """The kernel command line may contain it; systemd and k3s refuse a whole file because of it."""
    words = []

    def flat(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for each, inner in value.items():
                flat(
                    f"{name}[{each}]" if name.count(".") or "[" in name else f"{name}.{each}", inner
                )
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                maps = isinstance(inner, dict)
                flat(f"{name}[{index}]" if maps else name, inner)
        else:
            words.append(f'{name}="{value}"')

    for name, value in configuration(place, "a\udcffb").items():
        flat(name, value)
    for phase in ("boot", "runtime"):
        apply_phase(phase, mode="live", root=str(ready.root), cmdline=" ".join(words))
    grammars.read_all(ready.root)


def exact(machine: Machine, config: dict[str, Any]) -> dict[str, Any]:
    for phase in ("boot", "runtime"):
        machine.apply(phase, json.dumps(config, ensure_ascii=False))
    return grammars.read_all(machine.root)


# valid in any text of one line; texts are never changed on their way
PLAIN = [each for each in NASTY if each.strip() == each and each.isprintable() and len(each) < 300]


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_reaches_the_other_program_as_it_was(ready: Machine, text: str) -> None:
    given = {
        "k3os": {
            "environment": {"A": text},
            "k3s_args": ["server", f"--flag=x{text}"],
            "token": f"t{text}",
            "wifi": [{"name": text, "passphrase": f"p{text}"}],
            "sysctls": {"vm.swappiness": text},
            "server_url": f"https://a/x{text.replace(' ', '')}",
        }
    }
    found = exact(ready, given)
    assert found["etc/rancher/k3s/k3s.env"]["A"] == text
    assert found["etc/environment"].get("A", text) == text
    assert ("A" in found["etc/environment"]) == ("#" not in text)
    assert grammars.words(found["run/k3os/k3s.args"]["K3S_ARGS"]) == ["server", f"--flag=x{text}"]
    assert found["run/k3os/k3s.token"] == f"t{text}"
    assert found["etc/sysctl.d/zz-k3os.conf"]["vm/swappiness"] == text
    assert found["etc/rancher/k3s/config.yaml"]["server"] == given["k3os"]["server_url"]
    (network,) = found["var/lib/connman/k3os-wifi.config"].values()
    assert bytes.fromhex(network["SSID"]).decode() == text
    assert network["Passphrase"] == f"p{text}"


@pytest.mark.parametrize("text", [*NASTY, "$6$a b$" + "x" * 22, "$6$a\\b$" + "x" * 22])
def test_what_is_no_crypt_form_is_hashed(text: str) -> None:
    assert not is_crypt(text)
    assert not is_crypt(f"$6${text}$" + "x" * 22) or not set(text) & set(" :;*!\\\n\r\t")


@pytest.mark.parametrize("tty", [f"ttyS0{each}" for each in NASTY])
def test_a_menu_of_grub_holds_no_console_that_is_more_than_a_word(tty: str) -> None:
    """GRUB's manual, "Quoting": our menu contains no characters from it that are special there."""
    try:
        text = grub.menu(tty)
    except UserError as error:
        assert "is not a console" in str(error)
        return
    line = next(line for line in text.splitlines() if line.startswith("set console="))
    assert (
        line.removeprefix("set console=")
        .strip('"')
        .replace(" ", "")
        .replace("=", "")
        .replace(",", "")
        .isalnum()
    )


@pytest.mark.parametrize("text", [each for each in NASTY if each.isprintable()])
def test_an_old_k3s_reads_where_the_kubelets_file_is(text: str) -> None:
    found = grammars.one_map(shutdown.argument(f"/var/{text}/x"))
    assert found == {"kubelet-arg+": [f"config=/var/{text}/x"]}


BREAKS = "a\x0bb\x0cc\x1cd\x85e\u2028f"


def test_lines_of_others_stay_byte_for_byte(tmp_path: Path) -> None:
    """Python also ends lines at characters that are no line ends for other programs."""
    text = f"x={BREAKS}\n"
    assert replace_block(text, []) == text
    assert replace_block(replace_block(text, ["ours"]), []) == text
    assert with_settings(f"[General]\n{text}", {}) == f"[General]\n{text}"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/shadow").write_text(f"rancher:*:1::::::\nx:{BREAKS}:1::::::\n")
    set_field(Node(str(tmp_path)), "!")
    assert (tmp_path / "etc/shadow").read_text() == f"rancher:!:1::::::\nx:{BREAKS}:1::::::\n"


@pytest.mark.parametrize("text", NASTY)
def test_what_dhcp_names_becomes_a_resolv_conf_that_pods_can_read(text: str) -> None:
    given = f"nameserver 10.0.0.1{text}\nnameserver fd00::1%{text}\nsearch a.example {text}\n"
    grammars.resolver(compose(f"{given}nameserver 10.0.0.2\n"))


def test_what_somebody_wrote_for_logins_keeps_k3s_from_no_file(ready: Machine) -> None:
    (ready.root / LOGINS[1:]).write_bytes(b"A=x\nB=\xff\nC=a\0b\nD='y z'\n")
    found = exact(ready, {"hostname": "x"})
    assert found["etc/rancher/k3s/k3s.env"] == {"A": "x", "D": "y z"}
