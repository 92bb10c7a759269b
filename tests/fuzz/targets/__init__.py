"""The table of targets: whoever adds a parser of foreign data adds a line to one of these files."""

from tests.fuzz.target import TARGETS
from tests.fuzz.targets import cloud, cluster, config, disks, machine, releases

__all__ = ["TARGETS", "cloud", "cluster", "config", "disks", "machine", "releases"]
