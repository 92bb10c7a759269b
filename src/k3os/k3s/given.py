"""The settings in k3s' configuration files, for display: without possible secrets."""

from __future__ import annotations

from k3os.config.k3s_flags import FILE
from k3os.k3s.settings import Settings, of_files

# `k3os status` shows the values of these; of all others, only the name
SHOWN = ("server", "node-name", "node-label", "node-taint")


def given(root: str = "") -> Settings:
    """Name -> values; a file that cannot be read counts as empty."""
    return of_files(f"{root}{FILE}", lenient=True)


def shown(settings: Settings) -> Settings:
    """The same without values that only root should see."""
    from k3os.errors import discreet

    return {
        name: [discreet(each, whole=True) for each in values] if name in SHOWN else []
        for name, values in sorted(settings.items())
    }
