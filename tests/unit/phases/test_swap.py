"""k3os.swap: how much, and the settings for the kernel and systemd."""

import pytest

from k3os.config.check import check_text
from k3os.phases.swap import ALLOWED, MIB, SLICE, size
from k3os.system import memory, swap
from k3os.system.run import run

from .conftest import Machine

GIB = 1024 * MIB
PAGE = 4096


@pytest.mark.parametrize(
    ("text", "memory", "wanted"),
    [
        ("off", 2 * GIB, 0),
        ("auto", 0, 0),  # no /proc/meminfo
        ("auto", 512 * MIB, 768 * MIB),
        ("auto", GIB, 1536 * MIB),
        ("auto", 2 * GIB, 1536 * MIB),
        ("auto", 4 * GIB, 2 * GIB),
        ("auto", 64 * GIB, 4 * GIB),
        ("50%", GIB, 512 * MIB),
        ("300M", GIB, 300 * MIB),
        ("2G", GIB, 2 * GIB),
    ],
)
def test_the_size(text: str, memory: int, wanted: int) -> None:
    assert size(text, memory) == wanted


@pytest.mark.parametrize(
    ("written", "checked"),
    [
        *((word, "auto") for word in ("auto", "AUTO", "true", "on", "yes")),
        *((word, "off") for word in ("off", "false", "no", "0")),
        *(("50%", "50%"), ("'50 %'", "50%"), ("512M", "512M"), ("512MiB", "512M"), ("2g", "2G")),
    ],
)
def test_every_way_to_write_it(written: str, checked: str) -> None:
    values, problems = check_text(f"k3os: {{swap: {{zram: {written}}}}}\n".encode(), "c.yaml")
    assert not problems
    assert values["k3os.swap.zram"].data == checked


@pytest.mark.parametrize(
    "written",
    ["1", "512", "50 percent", "0%", "401%", "8M", "2T", "-5%", "half", "[a]", "²%", "2000G", "%"],
)
def test_what_is_no_size_is_one_line_that_says_what_to_write(written: str) -> None:
    text = f"k3os:\n  swap:\n    zram: {written!r}\n".replace("'[a]'", "[a]")
    values, problems = check_text(text.encode(), "c.yaml")
    assert "k3os.swap.zram" not in values
    (problem,) = problems
    assert problem.is_error
    assert str(problem).startswith("c.yaml:3:11: k3os.swap.zram: ")


SETTINGS = {"swappiness": "60", "page-cluster": "3", "watermark_boost_factor": "15000"}


@pytest.fixture
def node(machine: Machine) -> Machine:
    machine.put("proc/meminfo", "MemTotal:        1000000 kB\nMemFree:  1 kB\n")
    for name, value in SETTINGS.items():
        machine.put(f"proc/sys/vm/{name}", value)
    return machine


def of_swap(node: Machine, phase: str, config: str) -> dict[str, str]:
    report = node.apply(phase, config)
    return {each.what: each.result for each in report.results if each.key.startswith("k3os.swap")}


def test_without_a_configuration_there_is_swap_and_settings_that_suit_it(node: Machine) -> None:
    found = of_swap(node, "boot", "{}\n")
    assert found["make swap of 1464 MiB in compressed memory"] == "later"  # not on the host
    assert node.text("proc/sys/vm/swappiness") == "150\n"
    assert node.text("proc/sys/vm/page-cluster") == "0\n"
    assert not (node.root / SLICE[1:]).exists()


def test_it_is_made_once_in_a_boot(node: Machine) -> None:
    node.put("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 9 0 100\n")
    found = of_swap(node, "boot", "{}\n")
    assert found["make swap of 1464 MiB in compressed memory"] == "unchanged"
    assert of_swap(node, "runtime", "{}\n") == {}


def test_a_users_setting_wins_over_ours(node: Machine) -> None:
    of_swap(node, "boot", "k3os: {sysctls: {vm.swappiness: 10}}\n")
    assert node.text("proc/sys/vm/swappiness") == "10\n"


def test_switched_off_nothing_is_changed(node: Machine) -> None:
    assert of_swap(node, "boot", "k3os: {swap: {zram: off}}\n") == {}
    assert node.text("proc/sys/vm/swappiness") == SETTINGS["swappiness"]


def test_more_swap_than_could_ever_help_is_refused_and_the_node_boots(node: Machine) -> None:
    report = node.apply("boot", "k3os: {swap: {zram: 8G}}\n")
    (failed,) = report.failed
    assert "8G of swap in 976 MiB of memory is no help" in failed.reason
    assert node.text("proc/sys/vm/swappiness") == SETTINGS["swappiness"]


def test_pods_get_swap_when_they_are_to(node: Machine) -> None:
    of_swap(node, "boot", "k3os: {swap: {pods: true}}\n")
    assert node.text(SLICE[1:]) == ALLOWED


def test_the_header_is_what_mkswap_writes(tmp_path) -> None:
    file = tmp_path / "swap"
    file.write_bytes(bytes(16 * MIB))
    file.chmod(0o600)
    run(["mkswap", "-U", "clear", "-p", str(PAGE), str(file)], env={"PATH": "/usr/sbin:/sbin"})
    assert swap.header(16 * MIB, PAGE) == file.read_bytes()[:PAGE]


def test_a_device_in_use_is_not_taken(tmp_path) -> None:
    for name, disksize in (("zram0", "1048576"), ("zram1", "0"), ("vda", "0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "disksize").write_text(disksize + "\n")
    control = tmp_path / "hot_add"
    control.write_text("2\n")
    assert swap.free_zram(str(tmp_path), str(control)) == "zram1"
    (tmp_path / "zram1/disksize").write_text("4096\n")
    assert swap.free_zram(str(tmp_path), str(control)) == "zram2"


@pytest.mark.parametrize(
    ("known", "chosen"),
    [("lzo [lz4] zstd", "zstd"), ("lzo [lz4]", "")],
)
def test_the_algorithm_is_ours_where_the_kernel_has_it(tmp_path, known: str, chosen: str) -> None:
    device = tmp_path / "zram0"
    device.mkdir()
    (device / "comp_algorithm").write_text(known)
    (device / "disksize").write_text("0")
    swap.set_up("zram0", 5 * MIB, "zstd", str(tmp_path))
    written = (device / "comp_algorithm").read_text()
    assert written.startswith(chosen or known)
    assert (device / "disksize").read_text() == str(5 * MIB)


def test_what_the_kernel_says_of_memory() -> None:
    text = "MemTotal:        1000000 kB\nHugePages_Total:       3\nOdd line\nVmFlags: rd wr\n"
    assert memory.parse(text) == {"MemTotal": 1000000, "HugePages_Total": 3}
