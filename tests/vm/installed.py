"""Installed disks, made without an installer and without root."""

from pathlib import Path

from k3os.cli.main import main
from k3os.system.run import run

MIB = 1 << 20
START = 2 * MIB


def make_disk(iso: Path, disk: Path, scratch: Path, *, size: int, config: str = "") -> None:
    """Write a GPT disk of size bytes with one partition, K3OS_STATE, that holds the ISO's k3OS."""
    root = scratch / "root"
    run(["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/k3os", f"{root}/k3os"])
    run(["chmod", "-R", "u+w", str(root)])
    if config:
        (root / "k3os/system/config.yaml").write_text(config)
        (root / "k3os/system/config.yaml").chmod(0o600)
    with open(disk, "wb") as file:
        file.truncate(size)
    run(["sfdisk", "-q", str(disk)], stdin=f"label: gpt\nstart={START // 512}\n".encode())
    length = f"{(size - START - MIB) // 1024}k"
    command = ["mke2fs", "-q", "-t", "ext4", "-L", "K3OS_STATE", "-d", str(root)]
    run([*command, "-E", f"root_owner=0:0,offset={START}", str(disk), length])
    run(["rm", "-rf", str(root)])


def make_image(
    iso: Path, directory: Path, config: str, *, size: str = "2G", kind: str = "raw"
) -> Path:
    """The same with `k3os image`, including boot loaders: a disk image in directory."""
    path, file = directory / f"disk.{kind}", directory / "config.yaml"
    file.write_text(config)
    command = ["image", "--iso", str(iso), "--config", str(file), "--size", size]
    assert main([*command, "--format", kind, "-o", str(path)]) == 0
    return path


def debugfs(disk: Path, *commands: str) -> None:
    """Change a file system with debugfs(8), without mounting it."""
    for command in commands:
        run(["debugfs", "-w", "-R", command, f"{disk}?offset={START}"])


def state_of(disk: Path) -> str:
    """The file system's state, as dumpe2fs(8) shows it; no machine may be using the disk."""
    with open(disk, "rb") as file:
        file.seek(START + 1024)
        block = file.read(1024)
    clean = int.from_bytes(block[0x3A:0x3C], "little") & 1
    recovery = int.from_bytes(block[0x60:0x64], "little") & 4
    return "clean" if clean and not recovery else "needs recovery"
