"""Texts that are IP addresses, without importing ipaddress if possible."""

from __future__ import annotations

from k3os.system.numbers import whole


def ipv4(text: str) -> list[int]:
    """The four numbers of an IPv4 address, [] for anything else: ipaddress costs a boot 10 ms, and
    most networks only use such addresses."""
    parts = text.split(".")
    numbers = [whole(part, most=255) for part in parts if part == "0" or part[:1] != "0"]
    known = [number for number in numbers if number is not None]
    return known if len(known) == len(parts) == 4 else []


def is_address(text: str) -> bool:
    if ipv4(text.strip()):
        return True
    import ipaddress

    try:
        ipaddress.ip_address(text.strip())
    except ValueError:
        return False
    return True
