"""Mount options, according to the kernel, in a namespace that ends with the test."""

import os
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).parents[3] / "src"
PROGRAM = """
import os, subprocess, sys
from k3os.system import mounts as m
from k3os.boot import root

def shown(path):
    for line in open("/proc/self/mountinfo"):
        fields = line.split()
        if fields[4] == path:
            found = fields[5]
    return sorted(set(found.split(",")) - {"relatime"})

os.chdir(sys.argv[1])
here = os.getcwd()
for name in ("disk", "root"):
    os.mkdir(name)
m.mount("tmpfs", f"{here}/disk", "tmpfs")
for name in ("data/var", "data/home", "data/opt", "system"):
    os.makedirs(f"disk/{name}")
root.ROOT, root.ROOTFS = f"{here}/root", f"{here}/image"
for name in ("var", "home", "opt"):
    os.makedirs(f"image/{name}")
    os.makedirs(f"root/{name}")
os.makedirs("root/.base")
os.makedirs("root/k3os/data")
m.move(f"{here}/disk", f"{here}/root/.base")
m.restrict(f"{here}/root/.base", root.SAFE)
root.attach_data(f"{here}/root/.base/data")
m.make_read_only(f"{here}/root/.base")
for name in (".base", "var", "home", "opt", "k3os/data"):
    print(name, *shown(f"{here}/root/{name}"))
m.make_writable(f"{here}/root/.base")
print("writable", *shown(f"{here}/root/.base"))
with m.writable(f"{here}/root/home"):
    pass
print("again", *shown(f"{here}/root/home"))
"""


def test_each_part_of_the_disk_has_its_options_and_keeps_them(tmp_path: Path) -> None:
    alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    output = subprocess.run(
        [*alone, sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={"PYTHONPATH": str(SRC), "PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert output.splitlines() == [
        ".base nodev nosuid ro",
        "var rw",
        "home nodev nosuid rw",
        "opt rw",
        "k3os/data nodev nosuid rw",
        "writable nodev nosuid rw",
        "again nodev nosuid ro",
    ]


def test_a_container_keeps_its_suid_programs_and_devices_on_a_restricted_disk(
    tmp_path: Path,
) -> None:
    """Why / of a live system, where /var is in memory, may be nosuid: overlayfs is its own
    mount."""
    script = f"""
        set -e
        cd {tmp_path}
        mkdir disk; mount -t tmpfs -o nosuid,nodev tmpfs disk; cd disk
        mkdir lower upper work merged
        cp /usr/bin/id lower/id; chmod 4755 lower/id
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
        findmnt -no OPTIONS merged
    """
    alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    output = subprocess.run(
        [*alone, "sh", "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert not {"nosuid", "nodev"} & set(output.strip().split(","))
