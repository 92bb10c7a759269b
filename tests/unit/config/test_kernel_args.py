"""k3os.kernel_args: what the boot menu can pass to the kernel, and which arguments are reserved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.config.check import check_cmdline, check_data, check_text
from k3os.config.cmdline import split
from k3os.config.kernel_args import KEY, LONGEST
from k3os.config.schema import BOOT_OPTIONS, TABLE
from k3os.config.value import plain

# common arguments, from the kernel's admin-guide/kernel-parameters
USUAL = [
    *("hugepages=64", "hugepagesz=1G", "default_hugepagesz=2M", "transparent_hugepage=madvise"),
    *("intel_iommu=on", "iommu=pt", "amd_iommu=on", "mitigations=off", "nosmt", "mitigations=auto"),
    *("cgroup_enable=memory", "swapaccount=1", "systemd.unified_cgroup_hierarchy=1", "audit=1"),
    *("console=ttyS1,115200n8", "isolcpus=nohz,domain,1-3", "rcu_nocbs=1-3", "nohz_full=1-3"),
    *("memmap=64M$0x18690000", "memmap=64K#0x1000"),  # bad memory
    *("crashkernel=512M-2G:64M,2G-:128M", "memmap=2G!4G", "modprobe.blacklist=nouveau,pcspkr"),
    *("video=HDMI-A-1:1920x1080@60", "usbcore.quirks=0bda:8153:k", "acpi_osi=!", "page_poison=1"),
    *("netconsole=6666@10.0.0.1/eth0,514@10.0.0.2/aa:bb:cc:dd:ee:ff", "systemd.watchdog_sec=off"),
    *("lsm=landlock,lockdown,yama,apparmor,bpf", "iomem=relaxed", "nvme_core.io_timeout=255"),
]


def listed(*items: str) -> bytes:
    lines = "".join(f"  - {item}\n" for item in items)
    return f"k3os:\n  kernel_args:\n{lines}".encode()


def errors(data: bytes) -> list[str]:
    return [str(each) for each in check_text(data, "config.yaml")[1] if each.is_error]


def accepted(data: bytes) -> list[str]:
    values, _ = check_text(data, "config.yaml")
    found = plain(values[KEY])
    assert isinstance(found, list)
    return [str(each) for each in found]


def test_what_people_write_is_taken_in_its_order() -> None:
    assert accepted(listed(*USUAL)) == USUAL
    assert errors(listed(*USUAL)) == []


def test_the_same_argument_may_stand_there_twice() -> None:
    """hugepages= applies to the hugepagesz= before it."""
    pairs = ["hugepagesz=1G", "hugepages=4", "hugepagesz=2M", "hugepages=4"]
    assert accepted(listed(*pairs)) == pairs


@pytest.mark.parametrize("text", ["hugepages=64 intel_iommu=on", '"a=1\tb"', '"a\\nb"'])
def test_one_argument_is_one_item(text: str) -> None:
    (error,) = errors(listed(text))
    assert error.startswith("config.yaml:3:5: ")


def test_several_in_one_text_are_told_how_to_be_written() -> None:
    (error,) = errors(b"k3os: {kernel_args: hugepages=64 nosmt}\n")
    assert "write [hugepages=64, nosmt]" in error


@pytest.mark.parametrize(
    "word",
    [
        *(
            "console=ttyS1,115200n8",
            "isolcpus=1,2,3",
            "isolcpus=nohz,domain,1-3",
            "pci=nomsi,noaer",
        ),
        *("crashkernel=512M-2G:64M,2G-:128M", "earlycon=uart8250,mmio32,0xfe040000"),
        *("lsm=landlock,lockdown,yama", "modprobe.blacklist=nouveau,pcspkr"),
    ],
)
def test_an_argument_that_a_comma_tears_apart_is_told(word: str) -> None:
    """In the form of the documentation's examples, [a, b], YAML splits at it."""
    for around in (f"[{word}]", f"[nosmt, {word}, audit=1]"):
        found = check_data(f"k3os: {{kernel_args: {around}}}\n".encode(), "config.yaml")
        told = [str(each) for each in found if "console=" not in each.key]
        told = [line for line in told if "comma separates" in line]
        assert told, word
        assert all("quotes" in line or "write `'" in line for line in told)
    assert accepted(f"k3os: {{kernel_args: ['{word}', nosmt]}}\n".encode()) == [word, "nosmt"]
    quoted = check_data(f"k3os: {{kernel_args: ['{word}', nosmt]}}\n".encode(), "config.yaml")
    assert not [each for each in quoted if "comma" in str(each)]


@pytest.mark.parametrize(
    "text",
    ["[nosmt,nomodeset]", "[a=1,b=2]", "['a=1','nosmt']", "[a=1, nosmt]", "[8250.nr_uarts=4]"],
)
def test_a_list_that_means_what_it_says_is_no_news(text: str) -> None:
    assert check_data(f"k3os: {{kernel_args: {text}}}\n".encode(), "config.yaml") == []


@pytest.mark.parametrize("sign", [*"\"';{}()<>|&*?[]\\`^~", "„", "é", "\u00a0"])
def test_what_grub_would_read_otherwise_is_refused(sign: str) -> None:
    value = sign.replace("'", "''")
    (error,) = errors(listed(f"'a=x{value}y'"))
    assert error.startswith("config.yaml:3:")
    assert KEY in error


@pytest.mark.parametrize(
    "word",
    [
        *("root=/dev/sda1", "rootfstype=ext4", "rootflags=ro", "rootwait", "ro", "rw", "nfsroot=x"),
        *("init=/bin/sh", "rdinit=/bin/sh", "initrd=/x", "BOOT_IMAGE=/vmlinuz", "noinitrd"),
        *("rd.break", "rd.lvm.lv=a/b", "systemd.unit=rescue.target", "systemd.mask=k3s.service"),
        *("systemd.run=/bin/sh", "single", "emergency", "rescue", "3", "s", "-b", "--", "-"),
        *("k3os.mode=live", "k3os.args_of=1", "k3os", "k3os.token=x", "k3os.nonsense=1"),
        *("hostname=a", "host-name=a", "write_files[0].path=/a", "run_cmd=ls", "runcmd=ls"),
        *("panic=0", "=1", "="),
    ],
)
def test_what_is_k3os_own_is_refused_with_what_to_do(word: str) -> None:
    data = listed("nosmt", f'"{word}"')
    (error,) = errors(data)
    assert error.startswith(f"config.yaml:4:5: {KEY}[1]: ")
    assert " (" in error or "; " in error or ": " in error
    assert accepted(data) == ["nosmt"]


@pytest.mark.parametrize("name", BOOT_OPTIONS)
def test_no_option_of_the_boot_is_taken(name: str) -> None:
    assert errors(listed(name))
    assert errors(listed(f"{name}=1"))


@pytest.mark.parametrize("path", [key.path for key in TABLE])
def test_no_key_of_the_configuration_is_taken(path: str) -> None:
    assert errors(listed(f"{path}=1"))


def test_more_than_a_command_line_holds_is_refused() -> None:
    one = "a=" + "x" * 98
    most = LONGEST // (len(one) + 1)
    assert errors(listed(*[one] * most)) == []
    (error,) = errors(listed(*[one] * (most + 1)))
    assert str(LONGEST) in error


@given(st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_what_is_taken_reaches_the_kernel_word_by_word(words: list[str]) -> None:
    """Whatever is in the list, the accepted words form one line that splits into the same words."""
    import json

    data = json.dumps({"k3os": {"kernel_args": words}}).encode()
    values, _ = check_text(data, "config.yaml")
    taken = [str(each) for each in plain(values[KEY])] if KEY in values else []  # type: ignore[union-attr]
    line = " ".join(taken)
    assert line.split() == taken
    assert line.isascii()
    assert not set(line) & set("\"';{}()<>|&*?[]\\`\n")
    assert len(split(line)) == len(taken)


def test_an_installers_command_line_may_have_some() -> None:
    values, problems = check_cmdline("k3os.kernel_args=hugepages=64 k3os.kernel_args=nosmt")
    assert plain(values[KEY]) == ["hugepages=64", "nosmt"]
    assert not problems


def test_a_person_hears_which_console_counts() -> None:
    (problem,) = check_data(listed("nosmt", "console=ttyS1"), "config.yaml")
    assert not problem.is_error
    assert (problem.place.line, problem.place.column) == (4, 5)
    assert "k3os.install.tty" in str(problem)


def test_an_empty_list_asks_for_none() -> None:
    assert accepted(b"k3os: {kernel_args: []}\n") == []
