"""Which parts of a kernel's package and of its file systems the root shows."""

import errno
from pathlib import Path

import pytest

from k3os.boot import host_setup, root

Mounts = list[tuple[str, str]]


@pytest.fixture
def bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mounts:
    """The bind mounts that would be made; the root and the kernel's image are test directories."""
    found: Mounts = []

    def bind(source: str, target: str) -> None:
        base = f"{tmp_path}/"
        found.append((source.removeprefix(base), target.removeprefix(base)))

    monkeypatch.setattr(root, "ROOT", f"{tmp_path}/root")
    monkeypatch.setattr(root, "KERNEL", f"{tmp_path}/kernel")
    monkeypatch.setattr(root.mounts, "bind", bind)
    monkeypatch.setattr(root.mounts, "bind_read_only", bind)
    monkeypatch.setattr(root.mounts, "mount_image", lambda image, target: None)
    return found


MODULES = [("kernel/modules", "root/usr/lib/modules"), ("kernel/firmware", "root/usr/lib/firmware")]


def test_the_kernels_configuration_is_shown_in_boot(bound: Mounts, tmp_path: Path) -> None:
    (tmp_path / "kernel/boot").mkdir(parents=True)
    root.add_kernel("image")
    assert bound == [*MODULES, ("kernel/boot", "root/boot")]
    assert (tmp_path / "root/boot").is_dir()


def test_a_kernel_of_an_older_release_has_none(bound: Mounts) -> None:
    root.add_kernel("image")
    assert bound == MODULES


@pytest.mark.parametrize(("release", "shown"), [("6.1-rpi", True), ("6.1-other", False)])
def test_a_foreign_kernels_configuration_is_shown_where_the_other_system_has_it(
    bound: Mounts, tmp_path: Path, release: str, shown: bool
) -> None:
    (tmp_path / "base/boot").mkdir(parents=True)
    (tmp_path / "base/boot/config-6.1-rpi").write_text("")
    root.add_foreign_kernel(str(tmp_path / "base"), release)
    assert (("base/boot", "root/boot") in bound) is shown


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EPERM])
def test_a_kernel_without_a_file_system_for_tools_boots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked = []

    def mount(*arguments: object) -> None:
        asked.append(arguments)
        raise OSError(number, "x")

    monkeypatch.setattr(root.mounts, "mount", mount)
    root.mount_for_tools("debugfs", str(tmp_path))
    assert len(asked) == 1
    root.mount_for_tools("debugfs", f"{tmp_path}/missing")
    assert len(asked) == 1


def test_any_other_failure_to_mount_is_said_and_the_boot_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mount(*_: object) -> None:
        raise OSError(errno.EINVAL, "x")

    said: list[str] = []
    monkeypatch.setattr(root.mounts, "mount", mount)
    monkeypatch.setattr(root, "say", said.append)
    root.mount_for_tools("debugfs", str(tmp_path))
    assert said == [f"could not mount {tmp_path}: [Errno {errno.EINVAL}] x; the boot continues"]


def test_the_names_for_nvme_follow_from_the_machine_id() -> None:
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    assert host_setup.nvme_names(uuid.replace("-", "")) == {
        "/etc/nvme/hostid": uuid,
        "/etc/nvme/hostnqn": f"nqn.2014-08.org.nvmexpress:uuid:{uuid}",
    }


def test_a_configuration_of_the_initrds_is_closed_and_the_system_beside_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = []
    monkeypatch.setattr(root.mounts, "mount", lambda *words: mounted.append(words))
    monkeypatch.setattr(root, "CONFIG_LAYER", f"{tmp_path}/layer")
    (tmp_path / "config.yaml").write_text("k3os: {token: secret}\n")
    root._mount_system("/medium/k3os/system", "/root/k3os/system", f"{tmp_path}/config.yaml")
    assert mounted[0][-1] == f"lowerdir={tmp_path}/layer:/medium/k3os/system"
    assert (tmp_path / "layer").stat().st_mode & 0o777 == 0o755, "the merged directory has this"
    assert (tmp_path / "layer/config.yaml").stat().st_mode & 0o777 == 0o600


def image(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("var/lib/one", "var/lib/two", "var/log/three"):
        (tmp_path / "image" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "image" / name).write_text(name)
    return tmp_path / "image/var", tmp_path / "data"


def test_a_full_disk_gets_what_fits_and_boots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = image(tmp_path)
    said: list[str] = []

    def write(path: str, data: bytes, **_: object) -> None:
        if path.endswith("/one"):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        Path(path).write_bytes(data)

    monkeypatch.setattr(root, "atomic_write", write)
    monkeypatch.setattr(root, "say", said.append)
    root.seed(str(source), str(target))
    assert (target / "lib/two").exists()
    assert (target / "log/three").exists()
    assert said == [f"no room for the image's {target}/lib/one; the boot continues"]


def test_another_error_of_the_disk_is_no_reason_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = image(tmp_path)

    def write(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(root, "atomic_write", write)
    with pytest.raises(OSError, match="Input/output"):
        root.seed(str(source), str(target))
