"""Whether the previous generation is exactly what was asked for, so that nothing is fetched.

It only decides. A request maps components to versions, as in `k3os upgrade --expect` and `--k3s`.
"""

from __future__ import annotations

import re

from k3os.generation.layout import COMPONENTS, have_same
from k3os.generation.versions import is_older

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from k3os.generation.installed import Installed

VERSION = re.compile(r"v?[0-9][0-9A-Za-z.+~_-]*")
# the kernel belongs to k3OS and always goes with it
WITH = {"k3os": ("k3os", "kernel"), "k3s": ("k3s",)}


def asked(options: Mapping[str, str]) -> dict[str, str]:
    """What options of `k3os upgrade` request by version; {} if they request anything otherwise."""
    found = {}
    if "--k3os" in options:
        found["k3os"] = options.get("--expect", "")
    if "--k3s" in options:
        found["k3s"] = options["--k3s"]
    partly = {"SRC", "--kernel", "--no-kernel"} & set(options)
    return {} if partly or not all(map(VERSION.fullmatch, found.values())) else found


def is_way_back(installed: Installed, wanted: Mapping[str, str]) -> bool:
    """Whether the previous generation has these versions, none of them newer, and everything that
    was not requested is the same in both."""
    current, previous = installed.current, installed.previous
    if not wanted or previous in ("", current, installed.running):
        return False
    now, before = installed.versions, installed.previous_versions
    older = [name for name in wanted if is_older(before.get(name, ""), now.get(name, ""))]
    same = [name for name in wanted if before.get(name) == now.get(name)]
    moves = {part for name in wanted for part in WITH[name]}
    return (
        bool(older)
        and len(older) + len(same) == len(wanted)
        and has(before, wanted)
        and installed.arguments(current) == installed.arguments(previous)
        and installed.extensions(current) == installed.extensions(previous)
        and have_same(installed.system, current, previous, set(COMPONENTS) - moves)
    )


def waits_for_a_boot(installed: Installed, wanted: Mapping[str, str]) -> bool:
    """Whether an earlier call has switched to these versions, and they have not been booted yet."""
    return (
        bool(wanted)
        and installed.running not in ("", installed.current)
        and has(installed.versions, wanted)
    )


def has(versions: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(
        versions.get(name, "").removeprefix("v") == version.removeprefix("v")
        for name, version in wanted.items()
    )
