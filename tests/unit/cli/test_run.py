import re
import stat
import subprocess
from pathlib import Path

import pytest

from k3os.cli import run as command
from k3os.cli.run import disk_of, initrd_with_config, introduction, make_spec, parse
from k3os.errors import UserError
from k3os.vm.accel import KVM, TCG
from k3os.vm.spec import Disk


@pytest.fixture
def artifacts(tmp_path):
    for name in ("k3os-amd64.iso", "k3os-vmlinuz-amd64", "k3os-initrd-amd64"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def spec_of(artifacts, *options):
    scratch = artifacts / "scratch"
    scratch.mkdir(exist_ok=True)
    return make_spec(parse(list(options)), artifacts, scratch)


def test_without_options_the_firmware_boots_the_cd(artifacts):
    spec = spec_of(artifacts)
    assert spec.kernel is None
    assert spec.cdrom == artifacts / "k3os-amd64.iso"
    assert (spec.memory, spec.cpus, spec.uefi) == (2048, 2, False)


def test_kernel_parameters_need_a_direct_boot_with_the_iso_as_a_disk(artifacts):
    spec = spec_of(artifacts, "--append", "k3os.debug", "--memory", "1024")
    assert spec.append.endswith("k3os.mode=live k3os.debug")
    assert "console=ttyS0,115200" in spec.append
    assert spec.kernel == artifacts / "k3os-vmlinuz-amd64"
    assert spec.disks == (Disk(artifacts / "k3os-amd64.iso", readonly=True),)
    assert spec.memory == 1024


def test_a_config_travels_in_front_of_the_initrd(artifacts, tmp_path):
    config = tmp_path / "my.yaml"
    config.write_text("hostname: a\n")
    initrd = initrd_with_config(artifacts / "k3os-initrd-amd64", config, tmp_path / "out")
    data = initrd.read_bytes()
    assert data.startswith(b"070701")
    assert data.endswith(b"k3os-initrd-amd64")
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["cpio", "-idm", "--quiet"], input=data, cwd=unpacked, check=False)
    result = unpacked / "k3os" / "system" / "config.yaml"
    assert result.read_text() == "hostname: a\n"
    assert stat.S_IMODE(result.stat().st_mode) == 0o600


def test_the_initrd_behind_a_config_starts_where_the_kernel_looks_for_it(artifacts, tmp_path):
    config = tmp_path / "my.yaml"
    for size in range(8):
        config.write_text("#" * size)
        initrd = initrd_with_config(artifacts / "k3os-initrd-amd64", config, tmp_path / "out")
        assert initrd.read_bytes().index(b"k3os-initrd-amd64") % 4 == 0


def test_a_config_that_is_not_there_is_a_clear_error(artifacts):
    with pytest.raises(UserError, match="No such file"):
        spec_of(artifacts, "--config", "/nothere.yaml")


def test_a_missing_artifact_says_how_to_build_it(tmp_path):
    with pytest.raises(UserError) as error:
        spec_of(tmp_path)
    assert "is missing; build it first" in str(error.value)


@pytest.mark.parametrize(
    ("text", "path", "kind"),
    [
        ("disk.qcow2:20G", "disk.qcow2", "qcow2"),
        ("disk.img", "disk.img", "raw"),
        ("/a:b/disk", "/a:b/disk", "qcow2"),
        ("d.raw:512M", "d.raw", "raw"),
    ],
)
def test_a_disk_is_a_path_and_perhaps_a_size(text, path, kind):
    assert disk_of(text) == Disk(Path(path), kind)


def test_a_missing_disk_is_created_and_an_existing_one_is_left_alone(tmp_path):
    path = tmp_path / "new.img"
    command._create_disk(disk_of(f"{path}:3M"), [f"{path}:3M"])
    assert path.stat().st_size == 3 << 20
    path.write_bytes(b"precious")
    command._create_disk(disk_of(f"{path}:3M"), [f"{path}:3M"])
    assert path.read_bytes() == b"precious"


def test_a_disk_that_cannot_be_created_is_an_error_that_names_the_option(tmp_path):
    text = f"{tmp_path}/no/where.qcow2"
    with pytest.raises(UserError) as error:
        command._create_disk(disk_of(text), [text])
    assert error.value.where == "--disk"


def test_it_is_said_beforehand_how_to_leave_and_how_to_reach_ssh():
    text = introduction(TCG, 4022)
    assert "Ctrl-a, then x" in text
    assert "ssh -p 4022" in text
    assert "rancher@127.0.0.1" in text
    assert "slower" in text
    assert "slower" not in introduction(KVM, 4022)


@pytest.mark.parametrize(
    "options", [["--memory", "0"], ["--memory", "many"], ["--timeout", "-1"], ["--until", "noon"]]
)
def test_wrong_usage_ends_with_code_2(options, capsys):
    with pytest.raises(SystemExit) as end:
        parse(options)
    assert end.value.code == 2
    assert options[1] in capsys.readouterr().err


def test_a_login_is_a_prompt_for_a_name_or_a_shell_already():
    assert re.search(command.POINTS["login"], "k3os-1234 login: ", re.MULTILINE)
    assert re.search(command.POINTS["login"], "rancher@k3os-1234:~$ ", re.MULTILINE)
    assert not re.search(command.POINTS["login"], "k3OS: early boot", re.MULTILINE)
