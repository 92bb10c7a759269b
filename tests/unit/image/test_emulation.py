"""Whether this host can run another architecture's programs, and what it says if not."""

from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.image import emulation
from k3os.image.settings import ARCHITECTURES
from k3os.system.run import CommandError

ARM64 = ARCHITECTURES["arm64"]
READY = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: PF\noffset 0\n"


@pytest.fixture
def binfmt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """binfmt_misc without entries, on a PC where none can be enabled."""

    def fail(argv: list[str]) -> bytes:
        raise CommandError(argv, 1, b"")

    monkeypatch.setattr(emulation, "BINFMT", tmp_path)
    monkeypatch.setattr(emulation, "is_ready", lambda arch: READY_OF(arch, tmp_path))
    monkeypatch.setattr(emulation, "is_needed", lambda arch: NEEDED(arch, "x86_64"))
    monkeypatch.setattr(emulation, "run", fail)
    return tmp_path


READY_OF, NEEDED = emulation.is_ready, emulation.is_needed


@pytest.mark.parametrize(
    ("text", "ready"),
    [
        (READY, True),
        (READY.replace("enabled", "disabled"), False),
        # without F the kernel looks for the interpreter in the chroot, which has none
        (READY.replace("PF", "P"), False),
        (READY.replace("flags: PF", "flags: "), False),
    ],
)
def test_only_an_enabled_entry_that_works_in_a_chroot_will_do(
    tmp_path: Path, text: str, ready: bool
) -> None:
    (tmp_path / "qemu-aarch64").write_text(text)
    assert READY_OF(ARM64, tmp_path) is ready


def test_the_own_architecture_needs_no_emulation(binfmt: Path) -> None:
    emulation.ensure(ARCHITECTURES["amd64"])
    assert not NEEDED(ARM64, "aarch64")


def test_a_machine_without_qemu_is_told_the_packages(
    binfmt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match="qemu-aarch64-static is missing") as caught:
        emulation.ensure(ARM64)
    assert "make setup" in caught.value.hint
    assert "qemu-user-static binfmt-support arch-test" in caught.value.hint


def test_a_kernel_that_does_not_know_is_told_apart_with_the_commands(
    binfmt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(UserError, match="has no enabled qemu-aarch64") as caught:
        emulation.ensure(ARM64)
    assert "mount -t binfmt_misc" in caught.value.hint
    assert "update-binfmts --enable qemu-aarch64" in caught.value.hint
