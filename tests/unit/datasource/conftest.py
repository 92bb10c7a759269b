"""A node that is a directory, with data sources whose answers a test sets."""

from pathlib import Path

import pytest

from k3os.config.load import Config
from k3os.datasource import store
from k3os.datasource.found import Found
from k3os.datasource.runtime import collect
from k3os.datasource.search import Answer
from k3os.phases.apply import apply_phase
from k3os.phases.node import Node
from k3os.phases.phase_report import ActionResult, PhaseReport
from tests.unit.phases.conftest import Machine

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGszb3MgdGVzdCBrZXkgbnVtYmVyIG9uZSAxMjM0NTY3 one@example"
OTHER_KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAADQBrM29zazNvc2szb3M= two@example"
CONFIG = "k3os: {data_sources: [nocloud, cdrom]}\n"


class CloudMachine(Machine):
    """answers: what each source gives, Found or a reason for nothing; said: console lines."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.answers: dict[str, Found | str] = {}
        self.asked: list[str] = []
        self.said: list[str] = []
        self.put(store.MACHINE.lstrip("/"), "uuid-1\n")

    def boot(self, config: str = CONFIG) -> PhaseReport:
        """The runtime phase."""
        self.put("k3os/system/config.yaml", config)
        return apply_phase(
            "runtime", mode="live", root=str(self.root), cmdline="", data_sources=self._ask
        )

    def _ask(self, config: Config, node: Node) -> list[ActionResult]:
        return collect(config, node, ask=self._search, say=self.said.append)

    def _search(self, names: list[str], say: object) -> list[Answer]:
        self.asked = names
        given = [(name, self.answers.get(name, "no medium")) for name in names]
        return [
            Answer(name, None, what) if isinstance(what, str) else Answer(name, what)
            for name, what in given
        ]

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()


@pytest.fixture
def cloud(tmp_path: Path) -> CloudMachine:
    return CloudMachine(tmp_path)


def cloud_results(report: PhaseReport) -> list[tuple[str, str]]:
    """(what, result) of what the phase did about data sources."""
    return [(each.what, each.result) for each in report.results if "data_sources" in each.key]
