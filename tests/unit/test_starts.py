"""What a node's programs import at startup: a boot starts many, and each import takes time."""

import subprocess
import sys
from pathlib import Path

import pytest

# the first four take 7 ms plus the time for dataclasses, ssl 2 ms, the HTTP modules 5 ms
HEAVY = {"dataclasses", "inspect", "typing", "ast", "ssl", "http.client", "urllib.request"}
CONFIG = "hostname: a\nk3os: {sysctls: {vm.swappiness: 1}, labels: {a: b}}\n"
COLLECT = """
from k3os.cli import report, status
from k3os.cluster import own_node, readiness, result
from k3os.node import status as node
node.collect("/nowhere", "/nowhere")
"""
# name: code, and the modules that it must not import
STARTS = {
    "PID 1 of the initrd": (
        "import k3os.boot.init",
        {"json", "subprocess", "socket", "hashlib", "yaml._yaml"},
    ),
    "k3os config --dump": (
        "from k3os.cli.main import main\nmain(['config', '--dump', '--root', ROOT])",
        {"re", "json", "functools", "collections", "enum", "subprocess", "yaml.reader"},
    ),
    "k3os report, k3os status": (COLLECT, {"hashlib", "yaml.reader"}),
    "a download, until it begins": ("import k3os.system.http", {"json", "yaml._yaml"}),
}


@pytest.mark.parametrize("name", STARTS)
def test_it_starts_without_what_it_does_not_need(name: str, tmp_path: Path) -> None:
    code, spared = STARTS[name]
    file = tmp_path / "k3os/system/config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(CONFIG)
    path = [each for each in sys.path if each]
    lines = [f"import sys; sys.path[:] = {path}; ROOT = {str(tmp_path)!r}", code]
    lines.append(f"print('imported:', *({HEAVY | spared} & {{*sys.modules}}))")
    command = [sys.executable, "-ISc", "\n".join(lines)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert printed.split()[-1] == "imported:"
