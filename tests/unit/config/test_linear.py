"""Twice as much input takes twice as long, not four times: what others write may be long."""

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from k3os.config.check import check_text

TEXTS: dict[str, Callable[[int], str]] = {
    "network": lambda n: (
        "k3os:\n  network:\n"
        + "".join(
            f"    eth{i}: {{address: 10.{i >> 8}.{i & 255}.1/24, gateway: 'fe80::{i % 9}'}}\n"
            for i in range(n)
        )
    ),
    "network with VLANs": lambda n: (
        "k3os:\n  network:\n"
        + "".join(f"    eth{i}: {{address: dhcp, vlan: {i % 4000 + 1}}}\n" for i in range(n))
    ),
    "bonds, and bridges in a row": lambda n: (
        "k3os:\n  network:\n"
        + "".join(
            f"    b{i}: {{bond: {{mode: broadcast, interfaces: eth{i}}}}}\n" for i in range(n)
        )
        + "".join(
            f"    br{i}: {{bridge: {{interfaces: [b{i}, br{i + 1}.5]}}, address: off}}\n"
            for i in range(n)
        )
    ),
    "labels": lambda n: "k3os:\n  labels:\n" + "".join(f"    a{i}: b\n" for i in range(n)),
    "sysctls": lambda n: "k3os:\n  sysctls:\n" + "".join(f"    a.b{i}: 1\n" for i in range(n)),
    "environment": lambda n: (
        "k3os:\n  environment:\n" + "".join(f"    A{i}: b\n" for i in range(n))
    ),
    "modules": lambda n: "k3os:\n  modules:\n" + "".join(f"  - m{i}\n" for i in range(n)),
    "files": lambda n: (
        "write_files:\n" + "".join(f"- {{path: /a{i}, content: x}}\n" for i in range(n))
    ),
    "commands": lambda n: "run_cmd:\n" + "".join(f"- echo {i}\n" for i in range(n)),
    "wifi": lambda n: "k3os:\n  wifi:\n" + "".join(f"  - {{name: n{i}}}\n" for i in range(n)),
    "arguments": lambda n: (
        "k3os:\n  k3s_args:\n  - server\n" + "".join(f"  - --tls-san=a{i}\n" for i in range(n))
    ),
    "taints": lambda n: (
        "k3os:\n  taints:\n" + "".join(f"  - a{i}=b:NoSchedule\n" for i in range(n))
    ),
    "nameservers": lambda n: (
        "k3os:\n  dns_nameservers:\n" + "".join(f"  - 10.0.{i >> 8}.{i & 255}\n" for i in range(n))
    ),
    "unknown keys": lambda n: "".join(f"a{i}: b\n" for i in range(n)),
}


def calls(text: str) -> int:
    """The number of function calls in a check, which is the same on every host."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    data = text.encode()
    sys.setprofile(profile)
    try:
        check_text(data, "f")
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", TEXTS)
def test_the_check_of_a_long_list_is_linear(name: str) -> None:
    few, many = (TEXTS[name](count) for count in (100, 400))
    calls(few)  # warm up: imports
    assert calls(many) < 5 * calls(few)
