"""A node that is a directory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from k3os.phases.apply import apply_phase
from k3os.phases.phase_report import PhaseReport

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGszb3MgdGVzdCBrZXkgbnVtYmVyIG9uZSAxMjM0NTY3 one@example"
OTHER_KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAADQBrM29zazNvc2szb3M= two@example"


class Machine:
    """A file tree with the files a node has, and phases applied to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in {
            "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nrancher:x:1000:1000::/home/rancher:/b\n",
            "etc/group": "root:x:0:\nrancher:x:1000:\nadm:x:4:\n",
            "etc/shadow": "root:*:19000::::::\nrancher:*:19000:0:99999:7:::\nlast:*:1::::::\n",
            "proc/sys/kernel/hostname": "(none)\n",
            "proc/sys/kernel/printk": "7\t4\t1\t7\n",
            "proc/sys/net/ipv4/conf/eth0.100/rp_filter": "0\n",
        }.items():
            self.put(name, text)

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def text(self, name: str) -> str:
        return (self.root / name).read_text()

    def mode(self, name: str) -> int:
        return (self.root / name).stat().st_mode & 0o7777

    def apply(
        self,
        phase: str,
        config: str = "",
        say: Callable[[str], None] | None = None,
        mode: str = "live",
    ) -> PhaseReport:
        """Apply a phase; an empty config means the existing one."""
        if config:
            self.put("k3os/system/config.yaml", config)
            (self.root / "k3os/system/config.yaml").chmod(0o600)
        return apply_phase(phase, mode=mode, root=str(self.root), cmdline="", say=say)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)
