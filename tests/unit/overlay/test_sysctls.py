"""The image's kernel settings."""

from pathlib import Path

FILE = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/sysctl.d/50-k3os.conf"
DEFAULTS = {
    name.strip().lstrip("-"): value.strip()
    for name, equals, value in (line.partition("=") for line in FILE.read_text().splitlines())
    if equals and not name.startswith("#")
}


def test_pods_and_users_see_little_of_the_kernel_and_of_each_other() -> None:
    wanted = {
        "kernel.kptr_restrict": "1",
        "kernel.yama.ptrace_scope": "1",
        "fs.protected_hardlinks": "1",
        "fs.protected_symlinks": "1",
        "fs.protected_fifos": "1",
        "fs.protected_regular": "2",
    }
    assert wanted.items() <= DEFAULTS.items()


def test_each_is_said_once() -> None:
    lines = [line for line in FILE.read_text().splitlines() if "=" in line and line[0] != "#"]
    assert len(lines) == len(DEFAULTS)
