"""Which service connman prefers: that of the configured gateway."""

import pytest

from k3os.phases.routes import order

from .test_network import entry, link


@pytest.mark.parametrize(
    "entries,first",
    [
        ([entry("eth1", "10.1.0.1")], "eth1"),
        ([entry("eth1", "fd00:1::1")], "eth1"),
        ([entry("eth1", "fd00:1::1"), entry("eth0", "10.0.2.2")], "eth0"),
        ([entry("eth1")], ""),
    ],
    ids=["IPv4", "IPv6 alone", "IPv4 before IPv6", "no gateway"],
)
def test_connman_prefers_the_interface_of_the_gateway(
    entries: list[dict], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """connman asks the name servers of this interface."""
    macs = {"eth0": "52:54:00:00:00:01", "eth1": "52:54:00:00:00:02"}
    links = [
        link("eth0", "10.0.2.15/24", "fd00:2::15/64", mac=macs["eth0"]),
        link("eth1", "10.1.0.2/24", "fd00:1::2/64", mac=macs["eth1"]),
    ]
    services = {name: f"ethernet_{mac.replace(':', '')}_cable" for name, mac in macs.items()}
    done: list[list[str]] = []

    def run(command: list[str], **_: object) -> bytes:
        done.append(command)
        others = [services[name] for name in macs if name != first]
        listed = [*others, *([services[first]] if first else [])]
        return "".join(f"*AR Wired {each}\n" for each in listed).encode()

    monkeypatch.setattr("k3os.system.run.run", run)
    assert order(entries, links) is bool(first)
    moved = [each for each in done if "move-before" in each]
    assert [each[2] for each in moved] == ([services[first]] if first else [])
