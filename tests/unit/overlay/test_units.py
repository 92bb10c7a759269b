"""The units that the code starts by name do what it starts them for."""

from pathlib import Path

import pytest

from k3os.node import cluster_report
from k3os.phases import commands, network_plan

UNITS = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/systemd/system"


@pytest.mark.parametrize(
    ("unit", "command"),
    [
        (commands.READY_UNIT, "/usr/sbin/k3os config --ready"),
        (cluster_report.READY_UNIT, "/usr/sbin/k3os report --until-ready"),
        (network_plan.LINKS_UNIT, "/usr/sbin/k3os network links"),
        ("k3os-config-again.service", "/usr/sbin/k3os config --again"),
    ],
)
def test_the_unit_runs_the_command(unit: str, command: str) -> None:
    assert f"ExecStart={command}" in (UNITS / unit).read_text().splitlines()


def test_connman_waits_for_bonds_where_there_is_one_to_make() -> None:
    lines = (UNITS / network_plan.LINKS_UNIT).read_text().splitlines()
    assert f"ConditionPathExists={network_plan.LINKS}" in lines
    assert "connman.service" in next(line for line in lines if line.startswith("Before="))
    connman = (UNITS / "connman.service.d/10-k3os.conf").read_text().splitlines()
    assert f"Wants={network_plan.LINKS_UNIT}" in connman
