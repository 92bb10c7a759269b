"""What k3s finds in its configuration files, as it puts them together itself.

Of two files that set the same thing the later one counts, in name order; a name with `+` adds to
what was there (docs.k3s.io, "Configuration File"). Read to be shown: what may be a secret is not.
"""

from __future__ import annotations

import os

from k3os.config.for_k3s import is_settings, top_level
from k3os.config.k3s_flags import FILE as SETTINGS

# of these `k3os status` shows the values; each other name stands alone
SHOWN = ("server", "node-name", "node-label", "node-taint")


def given(root: str = "") -> dict[str, list[str]]:
    """Name -> values; a file that cannot be read counts as empty."""
    found: dict[str, list[str]] = {}
    for path in _files(root):
        try:
            with open(root + path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except (FileNotFoundError, PermissionError):
            continue
        for name, values in top_level(text).items():
            plain = name.removesuffix("+")
            found[plain] = [*(found.get(plain, []) if name != plain else []), *values]
    return found


def _files(root: str) -> list[str]:
    try:
        names = sorted(os.listdir(f"{root}{SETTINGS}.d"))
    except (FileNotFoundError, PermissionError):
        names = []
    return [SETTINGS, *(path for name in names if is_settings(path := f"{SETTINGS}.d/{name}"))]


def shown(settings: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same without values that nobody but root should see."""
    return {name: values if name in SHOWN else [] for name, values in sorted(settings.items())}
