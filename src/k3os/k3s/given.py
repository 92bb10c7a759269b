"""What k3s finds in its configuration files, to be shown: what may be a secret is not."""

from __future__ import annotations

from k3os.config.k3s_flags import FILE
from k3os.k3s.settings import Settings, of_files

# of these `k3os status` shows the values; each other name stands alone
SHOWN = ("server", "node-name", "node-label", "node-taint")


def given(root: str = "") -> Settings:
    """Name -> values; a file that cannot be read counts as empty."""
    return of_files(f"{root}{FILE}", lenient=True)


def shown(settings: Settings) -> Settings:
    """The same without values that nobody but root should see."""
    from k3os.errors import discreet

    return {
        name: [discreet(each, whole=True) for each in values] if name in SHOWN else []
        for name, values in sorted(settings.items())
    }
