"""The script that says that /var is nearly full: when, how often, and to whom."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "overlay/rootfs/usr/lib/k3os/disk"


class Looked:
    """A node on which the script runs repeatedly, with a fake stat(1)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "run/k3os").mkdir(parents=True)
        for name, text in {
            "bin/stat": '#!/bin/sh\ncat "$K3OS_ROOT/answer"\n',
            "proc/mounts": "/dev/sda1 /.base iso9660 ro 0 0\ntmpfs /run tmpfs rw 0 0\n",
            "dev/sda1": "",
            "usr/lib/k3os/say": '#!/bin/sh\necho "$*" >>"$K3OS_ROOT/console"\n',
        }.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
            (root / name).chmod(0o755)

    def look(self, free: int, inodes: int = 90) -> tuple[str, str, bool]:
        """Run the script with 100,000 blocks and 100 inodes in total. Returns what it tells `k3os
        status`, what it writes to the console, and whether it notifies the cluster at once."""
        (self.root / "answer").write_text(f"{free} 100000 {inodes} 100 4096\n")
        console, wanted = self.root / "console", self.root / "run/k3os/report-wanted"
        console.write_text("")
        wanted.unlink(missing_ok=True)
        environment = {"K3OS_ROOT": str(self.root), "PATH": f"{self.root}/bin:/usr/bin:/bin"}
        subprocess.run(["sh", str(SCRIPT)], env=environment, check=True)
        short = self.root / "run/k3os/disk-short"
        return short.read_text() if short.exists() else "", console.read_text(), wanted.exists()


@pytest.fixture
def looked(tmp_path: Path) -> Looked:
    return Looked(tmp_path)


def test_nothing_is_said_and_nothing_written_while_there_is_room(looked: Looked) -> None:
    assert looked.look(10000) == ("", "", False)
    assert not (looked.root / "run/k3os/disk-short").exists()


def test_it_is_said_once_for_each_step_down(looked: Looked) -> None:
    low = "/var is nearly full: 9 % of it is left, 39 MiB"
    told, console, wanted = looked.look(9999)
    assert told == f"low\n{low}\n"
    assert console == f"k3OS: {low}; `k3os status` says what helps\n"
    assert wanted
    assert looked.look(9000)[1:] == ("", False)
    told, console, wanted = looked.look(4999)
    assert told == "full\n/var is full: 4 % of it is left, 19 MiB; k3s evicts pods\n"
    assert "/var is full" in console
    assert wanted
    assert looked.look(0)[1:] == ("", False)


def test_it_does_not_come_and_go_at_an_edge(looked: Looked) -> None:
    looked.look(4000)
    assert looked.look(6000)[0].startswith("full")
    told, console, wanted = looked.look(7000)
    assert (told.startswith("low"), console, wanted) == (True, "", True)
    assert looked.look(11999)[0].startswith("low")
    assert looked.look(12000) == ("", "", True)
    assert looked.look(11000) == ("", "", False)


def test_inodes_count_as_well(looked: Looked) -> None:
    assert looked.look(50000, inodes=3)[0] == (
        "full\n/var is full: 3 % of its inodes are left, 3; k3s evicts pods\n"
    )


@pytest.mark.parametrize("answer", ["", "1 2 3\n", "0 0 0 0 4096\n"])
def test_a_file_system_that_does_not_say_is_no_full_one(looked: Looked, answer: str) -> None:
    (looked.root / "bin/stat").write_text(f"#!/bin/sh\nprintf '{answer}'\n")
    assert looked.look(0) == ("", "", False)


def test_a_file_system_without_a_number_of_inodes_is_no_full_one(looked: Looked) -> None:
    (looked.root / "bin/stat").write_text("#!/bin/sh\necho 50000 100000 0 0 4096\n")
    assert looked.look(0) == ("", "", False)


def test_errors_of_a_file_system_are_told_once_and_counted(looked: Looked) -> None:
    count = looked.root / "sys/fs/ext4/vda1/errors_count"
    count.parent.mkdir(parents=True)
    count.write_text("0\n")
    told = looked.root / "run/k3os/disk-errors"
    assert looked.look(50000) == ("", "", False)
    assert not told.exists()
    count.write_text("2\n")
    _, console, wanted = looked.look(50000)
    assert wanted
    assert "k3OS: the file system on vda1 has met errors, 2 so far: `dmesg`" in console
    count.write_text("3\n")
    assert looked.look(50000) == ("", "", False)
    assert told.read_text().startswith("the file system on vda1 has met errors, 3 so far")


def test_a_medium_that_is_gone_is_told_once(looked: Looked) -> None:
    (looked.root / "dev/sda1").unlink()
    _, console, wanted = looked.look(50000)
    words = "/dev/sda1, which k3OS runs from, is gone: what was not read yet cannot be started"
    words += "; connect it again and restart the machine\n"
    assert console == f"k3OS: {words}"
    assert wanted
    assert (looked.root / "run/k3os/disk-errors").read_text() == words
    assert looked.look(50000) == ("", "", False)


def test_a_system_in_memory_has_no_medium_that_could_be_gone(looked: Looked) -> None:
    (looked.root / "proc/mounts").write_text("none /.base rootfs rw 0 0\n")
    assert looked.look(50000) == ("", "", False)


def test_the_words_are_for_the_file_system_of_var(tmp_path: Path) -> None:
    """With the real stat(1), whatever it says on this host."""
    looked = Looked(tmp_path)
    (tmp_path / "bin/stat").unlink()
    looked.look(0)
