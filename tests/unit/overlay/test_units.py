"""The units that the code starts by name do what they are started for."""

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


YIELDING = "k3os.slice"
# units that nobody waits for, and that should leave the processor to k3s
BACKGROUND = {
    *("k3os-report.service", "k3os-node-ready.service", "k3os-tidy.service"),
    *("k3os-issue.service", "k3os-verify.service", "fstrim.service.d/10-k3os.conf"),
    "k3os-operator-image.service",
}


def settings(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] not in "#;[")


def test_what_nobody_waits_for_yields_to_k3s_and_nothing_else_does() -> None:
    """k3s, the boot, the network or a person waits for the others."""
    files = [*UNITS.glob("*.service"), *UNITS.glob("*.service.d/*.conf")]
    found = {
        str(path.relative_to(UNITS)) for path in files if settings(path).get("Slice") == YIELDING
    }
    assert found == BACKGROUND


def test_no_unit_relies_on_niceness() -> None:
    """With the cpu controller, which the kubelet enables, niceness does not affect other control
    groups."""
    files = [path for path in UNITS.rglob("*") if path.is_file()]
    assert [path.name for path in files if "Nice" in settings(path)] == []


def test_what_yields_has_less_than_k3s_and_is_never_starved() -> None:
    """The default is 100. `idle`, or a weight near 1, would get nothing on a node whose pods use
    all processors: kubepods.slice gets a weight of 39 or more per processor."""
    known = settings(UNITS / YIELDING)
    assert 10 <= int(known["CPUWeight"]) <= 25
    assert "CPUWeight" not in settings(UNITS / "k3s.slice")
    # dashes in slice names mean nesting: this one is next to k3s.slice
    assert "-" not in YIELDING
    assert "MemoryLow" in known
