import json
from pathlib import Path

import pytest

from k3os.cli import status as command
from k3os.generation import damage
from k3os.generation.installed import read_installed
from k3os.node import status, status_text


def verify(system: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    record = str(system.parent / "verify.json")
    code = command.verify(running_only=False, system=str(system), record=record)
    return code, capsys.readouterr().out


def test_what_is_as_it_should_be_is_fine(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = verify(system, capsys)
    assert code == 0
    assert "DAMAGED" not in said
    assert len(said.splitlines()) == len(sums(system)) > 3


def test_a_flipped_bit_and_a_missing_file_are_named_with_what_to_do(
    system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flipped, missing = sorted(sums(system))[:2]
    data = bytearray((system / flipped).read_bytes())
    data[0] ^= 1
    (system / flipped).write_bytes(data)
    (system / missing).unlink()
    code, said = verify(system, capsys)
    assert code == 1
    assert f"DAMAGED  {flipped}: its SHA-256 is " in said
    assert f"DAMAGED  {missing}: No such file" in said
    assert "k3os upgrade" in said


def test_the_result_is_in_the_status_until_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "run/k3os/verify.json"
    damage.record(str(path), {"k3os/1/rootfs.squashfs": "its SHA-256 is 0, not 1"}, 5)
    found = status.collect(str(tmp_path))
    assert "5 read, 1 damaged" in "\n".join(status_text.lines(found))
    assert [str(each) for each in status_text.failures(found)] == [
        "verify: /k3os/system/k3os/1/rootfs.squashfs: its SHA-256 is 0, not 1"
    ]
    damage.record(str(path), {}, 5)
    assert status_text.failures(status.collect(str(tmp_path))) == []
    assert json.loads(path.read_text())["files"] == 5


def sums(system: Path) -> dict[str, str]:
    installed = read_installed(str(system))
    return damage.sums(installed, installed.manifests)
