"""No text of a configuration can add a line to another program's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Machine

MARK = "INJECTED"
BREAKS = ["\n", "\r\n", "\r", "\n\t", "\x00", "\u2028", "\x0b"]


def places(text: str) -> dict[str, dict[str, Any]]:
    """Configurations with a given text in each place that takes one."""
    network = {"address": "10.0.0.2/24", "gateway": "10.0.0.1"}
    return {
        "hostname": {"hostname": text},
        "a name server": {"k3os": {"dns_nameservers": [text]}},
        "a time server": {"k3os": {"ntp_servers": [text]}},
        "a network's name": {"k3os": {"wifi": [{"name": text, "passphrase": "p"}]}},
        "a network's password": {"k3os": {"wifi": [{"name": "n", "passphrase": text}]}},
        "a password": {"k3os": {"password": text}},
        "a crypted password": {"k3os": {"password": f"$6$ab$cd{text}"}},
        "a variable": {"k3os": {"environment": {"A": text}}},
        "a variable's name": {"k3os": {"environment": {text: "a"}}},
        "a module": {"k3os": {"modules": [text]}},
        "a sysctl": {"k3os": {"sysctls": {"vm.swappiness": text}}},
        "a sysctl's name": {"k3os": {"sysctls": {text: "1"}}},
        "an interface": {"k3os": {"network": {text: network}}},
        "its name server": {"k3os": {"network": {"eth0": {**network, "nameservers": [text]}}}},
        "its name server's zone": {
            "k3os": {"network": {"eth0": {**network, "nameservers": [f"fe80::1%{text}"]}}}
        },
        "its gateway's zone": {
            "k3os": {"network": {"eth0": {"address": "fd00::2/64", "gateway": f"fe80::1%{text}"}}}
        },
        "its address' zone": {"k3os": {"network": {"eth0": {"address": f"fe80::2%{text}/64"}}}},
        "its domain": {"k3os": {"network": {"eth0": {**network, "domains": [text]}}}},
        "a label": {"k3os": {"labels": {"a": text}}},
        "a label's name": {"k3os": {"labels": {text: "a"}}},
        "a taint": {"k3os": {"taints": [f"a={text}:NoSchedule"]}},
        "an argument": {"k3os": {"k3s_args": ["server", f"--node-name={text}"]}},
        "the server": {"k3os": {"server_url": f"https://a{text}:6443"}},
        "a key": {"ssh_authorized_keys": [f"ssh-ed25519 AAAA {text}"]},
    }


# written unchanged for programs that read JSON, YAML or one line per value
STRUCTURED = (".json", ".yaml", ".toml")


def lines_of(root: Path) -> list[str]:
    found = []
    for path in sorted(each for each in root.rglob("*") if each.is_file()):
        if path.suffix in STRUCTURED:
            continue
        for line in path.read_bytes().replace(b"\0", b"\n").splitlines():
            if line.strip().startswith(MARK.encode()):
                found.append(f"{path.relative_to(root)}: {line!r}")
    return found


@pytest.mark.parametrize("line_break", BREAKS, ids=ascii)
@pytest.mark.parametrize("place", places(""))
def test_a_text_of_several_lines_is_refused_or_stays_one(
    machine: Machine, place: str, line_break: str
) -> None:
    text = yaml.safe_dump(places(f"x{line_break}{MARK}")[place], allow_unicode=True)
    for phase in ("initrd", "boot", "runtime"):
        machine.apply(phase, text)
    assert lines_of(machine.root) == []
