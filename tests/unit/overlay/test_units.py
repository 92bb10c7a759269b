"""The units that the code starts by name do what it starts them for."""

from pathlib import Path

import pytest

from k3os.node import cluster_report
from k3os.phases import commands

UNITS = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/systemd/system"


@pytest.mark.parametrize(
    ("unit", "command"),
    [
        (commands.READY_UNIT, "/usr/sbin/k3os config --ready"),
        (cluster_report.READY_UNIT, "/usr/sbin/k3os report --until-ready"),
        ("k3os-config-again.service", "/usr/sbin/k3os config --again"),
    ],
)
def test_the_unit_runs_the_command(unit: str, command: str) -> None:
    assert f"ExecStart={command}" in (UNITS / unit).read_text().splitlines()
