"""Kernel parameters as a source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.config.check import check_cmdline
from k3os.config.cmdline import boot_options, split
from k3os.config.value import plain


def read(text: str) -> dict[str, object]:
    values, problems = check_cmdline(text)
    assert not [str(problem) for problem in problems]
    return {path: plain(value) for path, value in values.items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hostname=a", {"hostname": "a"}),
        ("hostname=a hostname=b", {"hostname": "b"}),
        ("k3os.token=a k3os.tokens=b", {"k3os.token": "b"}),
        ("k3os.modules=a k3os.module=b", {"k3os.modules": ["a", "b"]}),
        ('k3os.module="nbd nbds_max=8"', {"k3os.modules": ["nbd nbds_max=8"]}),
        (
            'k3os.sysctl[kernel.printk]="4 4 1 7"',
            {"k3os.sysctls": {"kernel.printk": "4 4 1 7"}},
        ),
        (
            '"k3os.sysctl[kernel.printk]=4 4 1 7"',
            {"k3os.sysctls": {"kernel.printk": "4 4 1 7"}},
        ),
        ("k3os.sysctl.kernel.printk=4", {"k3os.sysctls": {"kernel.printk": "4"}}),
        ("k3os.labels.a=1 k3os.label.a=2", {"k3os.labels": {"a": "2"}}),
        ("k3os.labels=a=1 k3os.labels.b=2", {"k3os.labels": {"a": "1", "b": "2"}}),
        ("k3os.labels.k3os.io/x=1", {"k3os.labels": {"k3os.io/x": "1"}}),
        ("k3os.install.silent", {"k3os.install.silent": True}),
        ("k3os.install.silent=true", {"k3os.install.silent": True}),
        ("k3os.install.silent=false", {"k3os.install.silent": False}),
        ("k3os.install.forceEFI=1", {"k3os.install.force_efi": True}),
        (
            "k3os.wifi[0].name=a k3os.wifi[0].pass=b k3os.wifi[10].ssid=d k3os.wifi[2].ssid=c",
            {"k3os.wifi": [{"ssid": "a", "passphrase": "b"}, {"ssid": "c"}, {"ssid": "d"}]},
        ),
        (
            "write_files[0].path=/x write_files[0].permissions=0600 write_files[0].path=/y",
            {"write_files": [{"path": "/y", "permissions": "0600"}]},
        ),
        ("ssh_authorized_key=github:a", {"ssh_authorized_keys": ["github:a"]}),
        ("hostname=a -- hostname=b k3os.token=c", {"hostname": "a"}),
        ("console=ttyS0 root=/dev/sda ip=dhcp quiet", {}),
        ("k3os.mode=live k3os.fallback_mode=install k3os.debug rescue", {}),
        ("", {}),
    ],
)
def test_a_command_line_gives_these_values(text: str, found: dict[str, object]) -> None:
    assert read(text) == found


def test_an_unknown_key_of_ours_is_a_warning_and_everything_else_is_not_ours() -> None:
    _, problems = check_cmdline("k3os.modlues=a unknown=b k3os.nothing.at.all=c")
    assert [str(problem) for problem in problems] == [
        "cmdline: k3os.modlues: warning: k3os.modlues: is an unknown key; did you mean modules?",
        "cmdline: k3os.nothing.at.all: warning: k3os.nothing.at.all: is an unknown key; "
        "it has no effect",
    ]


def test_a_place_names_the_key_and_never_the_value() -> None:
    values, _ = check_cmdline("k3os.password=secret")
    assert str(values["k3os.password"].place) == "cmdline: k3os.password"


def test_quotes_are_the_kernels() -> None:
    assert split('a="b c" "d=e f" g="h"i j "k l"') == [
        ("a", "b c"),
        ("d", "e f"),
        ("g", 'h"i'),
        ("j", None),
        ("k l", None),
    ]


def test_the_boots_own_options_have_values_or_are_true() -> None:
    assert boot_options("k3os.mode=live rescue quiet k3os.debug=1 -- rescue=no") == {
        "k3os.mode": "live",
        "rescue": "true",
        "k3os.debug": "1",
    }


@given(st.text() | st.from_regex(r"(k3os\.|write_files|k3os\.wifi|hostname)[\[\]\.=\" a0]*"))
def test_no_command_line_gives_a_traceback(text: str) -> None:
    check_cmdline(text)
    boot_options(text)
