"""What is installed on a disk: its generations, and which one boots, runs, and can come back.

It only reads. Generations without a manifest, from an interrupted upgrade, are ignored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from k3os.errors import UserError
from k3os.generation import extensions, kernel_args
from k3os.generation.layout import GENERATIONS, LINKS, link
from k3os.generation.manifest import read_record, versions_of
from k3os.system.numbers import are_digits


@dataclass(frozen=True)
class Installed:
    """The contents of /k3os/system. Generations by their links' targets, "generations/3".

    manifests: generation to its manifest.json as read. running: the booted one, or "".
    """

    system: str
    current: str
    previous: str
    running: str
    manifests: Mapping[str, Mapping[str, object]]

    @property
    def versions(self) -> dict[str, str]:
        """Component to version of the current generation."""
        return self._versions(self.current)

    @property
    def previous_versions(self) -> dict[str, str]:
        """Of the generation that a manual rollback goes to. Raises UserError if there is none."""
        if not self.previous or self.previous == self.current:
            raise UserError("there is no previous generation", "nothing was changed")
        return self._versions(self.previous)

    def _versions(self, generation: str) -> dict[str, str]:
        return versions_of(self.manifests[generation])

    def arguments(self, generation: str) -> tuple[str, ...]:
        """Kernel arguments of a generation; () if it does not exist."""
        return kernel_args.of(self.manifests.get(generation, {}))

    def extensions(self, generation: str) -> tuple[extensions.Extension, ...]:
        """Of a generation; () where it is not there."""
        return extensions.of(self.manifests.get(generation, {}))

    @property
    def kept(self) -> str:
        """The generation to go back to: the running one, since it is known to work."""
        return self.running if self.running in self.manifests else self.current


def read_installed(system: str, running: str = "") -> Installed:
    """Look at a disk's /k3os/system. Raises UserError if nothing is installed there."""
    manifests = {}
    directory = f"{system}/{GENERATIONS}"
    names = os.listdir(directory) if os.path.isdir(directory) else []
    for name in sorted(name for name in names if are_digits(name)):
        if record := read_record(f"{directory}/{name}"):  # else interrupted: will be removed
            manifests[f"{GENERATIONS}/{name}"] = record
    current, previous = (link(f"{system}/{name}") for name in LINKS)
    if current not in manifests:
        raise UserError(
            f"{system}/current leads to no generation that could be read",
            "boot the ISO and install again with no_format, which keeps the data",
        )
    return Installed(system, current, previous if previous in manifests else "", running, manifests)
