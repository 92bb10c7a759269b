"""Compares versions of k3OS, k3s, and kernels: which one is older.

It only compares; what a valid version is, others decide.
"""

from __future__ import annotations

import re

from k3os.system.numbers import clamped


def ordered(version: str) -> tuple[tuple[int, ...], bool, str]:
    """A key to compare versions by: v1.33.1-rc1+k3s1 < v1.33.1+k3s1 < v1.33.1+k3s2."""
    text = version.removeprefix("v")
    main, _, build = text.partition("+")
    numbers, dash, rest = main.partition("-")
    parts = [clamped(each) for each in re.findall(r"[0-9]+", numbers)]
    parts += [0] * (4 - len(parts))
    parts += [clamped(each) for each in re.findall(r"[0-9]+", build)]
    return tuple(parts), not dash, rest


def is_older(version: str, than: str) -> bool:
    """Whether a version comes before another; False if one of them is not a version number."""
    if not re.match(r"v?\d", version) or not re.match(r"v?\d", than):
        return False
    return ordered(version) < ordered(than)


def is_minor_back(old: str, new: str) -> bool:
    """Whether k3s goes back a minor version, which may have another schema of the datastore; False
    if one of them is not a version number."""
    found = [re.match(r"v?[0-9]+\.[0-9]+", version) for version in (old, new)]
    before, after = (ordered(each[0])[0] if each else () for each in found)
    return bool(before and after) and after < before
