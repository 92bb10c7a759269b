"""The parts of the operator's image: which wheels, which of their files, which libraries."""

import dataclasses
import sys
import zipfile
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.image import operator, wheels
from k3os.image.cache import digest
from k3os.image.elf import needed_libraries, stripped
from k3os.image.operator_base import add_libraries
from k3os.image.progress import Progress
from k3os.image.settings import ARCHITECTURES, Settings, from_environment
from k3os.image.tree import Tree
from k3os.image.wheels import LOCK, Wheel, destination, pip_command, read_name
from k3os.system.run import run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return from_environment({"CACHE": str(tmp_path / "cache"), "SOURCE_DATE_EPOCH": "0"})


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_pip_is_asked_for_verified_wheels_of_the_nodes_python_and_machine(machine: str) -> None:
    command = pip_command(machine, ROOT / LOCK)
    assert {"--require-hashes", "--only-binary", ":all:"} <= set(command)
    assert command[command.index("--python-version") + 1] == "3.13"
    platforms = {command[i + 1] for i, word in enumerate(command) if word == "--platform"}
    assert f"manylinux_2_28_{machine}" in platforms
    assert all(name.endswith(machine) for name in platforms)
    assert f"manylinux_2_42_{machine}" not in platforms, "Debian 13 has glibc 2.41"


def test_every_line_of_the_lock_is_pinned_with_a_hash() -> None:
    text = (ROOT / LOCK).read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert {"kopf", "lightkube", "prometheus-client", "pyyaml"} <= {
        line.partition("==")[0] for line in lines
    }
    for line in lines:
        assert "==" in line
        assert "--hash=sha256:" in line


@pytest.mark.parametrize(
    ("member", "goes_to"),
    [
        ("kopf/__init__.py", "kopf/__init__.py"),
        ("kopf-1.0.dist-info/METADATA", "kopf-1.0.dist-info/METADATA"),
        ("kopf-1.0.dist-info/licenses/LICENSE", "kopf-1.0.dist-info/licenses/LICENSE"),
        ("kopf-1.0.dist-info/RECORD", ""),
        ("x-1.data/purelib/x/a.py", "x/a.py"),
        ("x-1.data/platlib/x/b.so", "x/b.so"),
        ("x-1.data/scripts/x", ""),
        ("x/tests/test_a.py", ""),
        ("tests/test_a.py", ""),
        ("x/a.pyi", ""),
        ("x/protest.py", "x/protest.py"),
    ],
)
def test_of_a_wheel_only_what_runs_and_its_licence_is_taken(member: str, goes_to: str) -> None:
    assert destination(member) == goes_to


def test_a_wheel_is_unpacked_and_named_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "Some_Name-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("some/a.py", "a = 1")
        archive.writestr("some/tests/b.py", "b = 1")
    wheel = read_name(path)
    assert (wheel.name, wheel.version) == ("some-name", "1.0")
    wheels.unpack(wheel, tmp_path / "out")
    found = [each for each in (tmp_path / "out").rglob("*") if each.is_file()]
    assert found == [tmp_path / "out/some/a.py"]


def test_wheels_that_are_there_are_not_downloaded_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = settings.cache / "downloads" / f"wheels-x86_64-{digest(ROOT / LOCK)}"
    kept.mkdir(parents=True)
    (kept / "one-1.0-py3-none-any.whl").write_bytes(b"x")
    monkeypatch.setattr(wheels, "pip_command", lambda *_: ["false"])
    with Progress(tmp_path / "log") as progress:
        (found,) = wheels.download(settings, progress)
    assert found.name == "one"


def test_a_failed_download_says_how_to_build_without_and_leaves_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "pip_command", lambda *_: [sys.executable, "-c", "exit(1)"])
    with Progress(tmp_path / "log") as progress:
        for _ in range(2):
            with pytest.raises(UserError) as caught:
                wheels.download(settings, progress)
            assert "OPERATOR=none" in str(caught.value)


def test_arm_has_no_operator_and_the_build_says_so(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arm = dataclasses.replace(settings, arch=ARCHITECTURES["arm"])
    with Progress(tmp_path / "log") as progress:
        cache = operator.Cache(settings.cache, progress)
        assert operator.stages(arm, progress, cache, tmp_path / "base.tar", "x") is None
        none = dataclasses.replace(settings, operator=False)
        assert operator.stages(none, progress, cache, tmp_path / "base.tar", "x") is None
    text = (tmp_path / "log").read_text()
    assert text.count("no operator: its libraries have no wheels for arm") == 1


def test_libraries_come_with_those_they_need_themselves() -> None:
    libc = next(Path("/lib").glob("*-linux-gnu/libc.so.6")).resolve().read_bytes()
    needed = needed_libraries(Path(sys.executable).resolve().read_bytes())
    assert "libc.so.6" in needed
    system, tree = Tree(), Tree()
    for name in needed | needed_libraries(libc):
        system.file(f"usr/lib/t/{name}.1", libc if name == "libc.so.6" else b"no ELF file")
        system.link(f"usr/lib/t/{name}", f"{name}.1")
    tree.file("usr/bin/python3", Path(sys.executable).resolve().read_bytes())
    add_libraries(tree, system, "usr/lib/t")
    found = {path.rpartition("/")[2] for path in tree.entries if path.startswith("usr/lib/t/")}
    assert found == needed | needed_libraries(libc)


def test_a_library_that_is_nowhere_is_an_error_with_its_name() -> None:
    tree = Tree()
    tree.file("usr/bin/python3", Path(sys.executable).resolve().read_bytes())
    with pytest.raises(UserError) as caught:
        add_libraries(tree, Tree(), "usr/lib/t")
    assert "/usr/bin/python3 needs lib" in str(caught.value)


def test_a_stripped_program_still_runs_and_needs_the_same_libraries(tmp_path: Path) -> None:
    original = Path("/bin/cat").resolve().read_bytes()
    program = tmp_path / "cat"
    program.write_bytes(stripped(original))
    program.chmod(0o755)
    assert run([str(program)], stdin=b"text") == b"text"
    assert needed_libraries(program.read_bytes()) == needed_libraries(original)
    assert len(program.read_bytes()) < len(original)


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x01\x01 32 bits", b"text" * 100])
def test_what_is_no_64_bit_program_is_not_stripped(data: bytes) -> None:
    assert stripped(data) == data


def test_a_wheel_is_identified_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Wheel("x", "1", tmp_path / "x").sha256 == empty
