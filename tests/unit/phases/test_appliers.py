"""What each applier does with its keys, on a node that is a directory."""

import gzip
import os
from base64 import b64encode

import pytest

from k3os.datasource.found import clean_hostname
from k3os.phases.password import crypt, is_crypt
from k3os.phases.sysctls import path_of

from .conftest import KEY, OTHER_KEY, Machine

AUTHORIZED = "home/rancher/.ssh/authorized_keys"


def keys(machine: Machine) -> list[str]:
    return [line for line in machine.text(AUTHORIZED).splitlines() if not line.startswith("#")]


def test_the_host_name_is_the_kernels_and_in_the_files(machine: Machine) -> None:
    machine.apply("boot", "hostname: node1.example.com\n")
    assert machine.text("proc/sys/kernel/hostname") == "node1.example.com\n"
    assert machine.text("etc/hostname") == "node1.example.com\n"
    assert "127.0.1.1 node1.example.com node1\n" in machine.text("etc/hosts")
    assert "127.0.0.1 localhost\n" in machine.text("etc/hosts")


def test_a_node_without_a_name_makes_one_and_keeps_it(machine: Machine) -> None:
    machine.apply("boot")
    name = machine.text("etc/hostname").strip()
    assert name.startswith("k3os-")
    assert len(name) == len("k3os-xxxxxx")
    for path in ("etc/hostname", "etc/hosts"):
        (machine.root / path).unlink()
    machine.put("proc/sys/kernel/hostname", "(none)\n")
    machine.apply("boot")
    assert machine.text("etc/hostname").strip() == name


def test_a_name_that_dhcp_gave_stays_unless_the_configuration_has_one(machine: Machine) -> None:
    machine.apply("boot")
    machine.put("proc/sys/kernel/hostname", "from-dhcp\n")
    machine.apply("runtime")
    assert machine.text("etc/hostname") == "from-dhcp\n"
    machine.apply("runtime", "hostname: mine\n")
    assert machine.text("proc/sys/kernel/hostname") == "mine\n"


@pytest.mark.parametrize(
    ("given", "taken", "registered"),
    [
        ("Rack_1-Node", "Rack-1-Node", "rack-1-node"),
        ("node 7.Example.org.", "node-7.Example.org", "node-7.example.org"),
        ("_-a-_", "a", "a"),
        ("x" * 64, "x" * 63, "x" * 63),
        (f"{'y' * 40}.{'z' * 23}", "y" * 40, "y" * 40),
        ("knöt", "kn-t", "kn-t"),
    ],
)
def test_a_name_from_dhcp_becomes_one_that_kubernetes_takes(
    machine: Machine, given: str, taken: str, registered: str
) -> None:
    machine.apply("boot")
    machine.put("proc/sys/kernel/hostname", f"{given}\n")
    report = machine.apply("runtime")
    assert machine.text("etc/hostname") == machine.text("proc/sys/kernel/hostname") == f"{taken}\n"
    assert machine.text("var/lib/rancher/k3os/node-name") == f"{registered}\n"
    reasons = [each.reason for each in report.results if "kernel.hostname" in each.what]
    assert reasons == [f"in place of {given}, which is not a valid host name"]


def test_a_name_from_dhcp_of_which_nothing_is_left_is_not_taken(machine: Machine) -> None:
    machine.apply("boot")
    own = machine.text("etc/hostname")
    machine.put("proc/sys/kernel/hostname", "___\n")
    machine.apply("runtime")
    assert machine.text("proc/sys/kernel/hostname") == own


@pytest.mark.parametrize(
    "given", ["LOCALHOST", "_localhost_", "localhost.", "localhost.home", "localhost6.localdomain6"]
)
def test_a_name_that_every_machine_has_is_no_name_of_this_one(machine: Machine, given: str) -> None:
    """Two such nodes could not be in one cluster."""
    machine.apply("boot", "{}")
    own = machine.text("etc/hostname")
    machine.put("proc/sys/kernel/hostname", f"{given}\n")
    assert machine.apply("runtime").is_fine
    assert machine.text("proc/sys/kernel/hostname") == machine.text("etc/hostname") == own
    assert clean_hostname(given) == ""
    assert not machine.apply("boot", f"hostname: {given}\n").is_fine
    assert machine.text("etc/hostname") == own


def test_a_pinned_name_that_no_cluster_takes_is_replaced(machine: Machine) -> None:
    machine.put("var/lib/rancher/k3os/node-name", "rack_1-node\n")
    machine.apply("boot", "hostname: rack-1\n")
    machine.apply("runtime")
    assert machine.text("var/lib/rancher/k3os/node-name") == "rack-1\n"


def test_keys_are_in_a_block_and_those_by_hand_stay(machine: Machine) -> None:
    machine.put(AUTHORIZED, f"# by hand\n{OTHER_KEY}\n")
    machine.apply("boot", f"ssh_authorized_keys: ['{KEY}', '{KEY}', '{OTHER_KEY}']\n")
    assert keys(machine) == [OTHER_KEY, KEY]
    assert machine.mode(AUTHORIZED) == 0o600
    assert machine.mode("home/rancher/.ssh") == 0o700
    machine.apply("runtime", "hostname: x\n")
    assert machine.text(AUTHORIZED) == f"# by hand\n{OTHER_KEY}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_keys_belong_to_the_user(machine: Machine) -> None:
    machine.apply("boot", f"ssh_authorized_keys: ['{KEY}']\n")
    for name in ("home/rancher", "home/rancher/.ssh", AUTHORIZED):
        assert (machine.root / name).stat().st_uid == 1000


def test_what_is_no_key_is_an_error_and_the_other_keys_are_written(machine: Machine) -> None:
    report = machine.apply("boot", f"ssh_authorized_keys: ['{KEY}', junk, 'ssh-rsa short']\n")
    assert [problem.key for problem in report.problems if problem.is_error] == [
        "ssh_authorized_keys[1]",
        "ssh_authorized_keys[2]",
    ]
    assert keys(machine) == [KEY]


def test_keys_from_the_network_wait_for_it_and_earlier_ones_stay(machine: Machine) -> None:
    machine.put(
        AUTHORIZED,
        "# begin: written by k3os from config.yaml, changes between these lines are lost\n"
        f"# from github:me\n{OTHER_KEY}\n# from github:gone\n{OTHER_KEY}x\n# end: k3os\n",
    )
    report = machine.apply("boot", f"ssh_authorized_keys: ['{KEY}', 'github:me']\n")
    assert [result.what for result in report.results if result.result == "later"] == [
        "fetch github:me"
    ]
    assert keys(machine) == [KEY, OTHER_KEY]


HELLO = b64encode(b"hello").decode()
ZIPPED = b64encode(gzip.compress(b"hello", mtime=0)).decode()


@pytest.mark.parametrize(
    "entry",
    [
        "content: hello",
        f"encoding: b64, content: {HELLO}",
        f"encoding: base64, content: {HELLO}",
        f"content: !!binary {HELLO}",
        f"encoding: gz+b64, content: {ZIPPED}",
        f"encoding: gzip+base64, content: {ZIPPED}",
        f"encoding: gz, content: !!binary {ZIPPED}",
        f"encoding: gzip, content: {ZIPPED}",
    ],
)
def test_a_file_is_written_from_every_encoding(machine: Machine, entry: str) -> None:
    report = machine.apply("boot", f"write_files: [{{path: /etc/deep/er/x, {entry}}}]\n")
    assert not report.failed, report.lines()
    assert machine.text("etc/deep/er/x") == "hello"
    assert machine.mode("etc/deep/er/x") == 0o644


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("encoding: b64, content: '!'", "not base64"),
        (f"encoding: gz+b64, content: {HELLO}", "not gzip"),
        (f"encoding: gz+b64, content: {ZIPPED[:24]}", "cut off"),
        ("owner: nobody-here", "no user nobody-here"),
        ("owner: 'root:nothing'", "no group nothing"),
    ],
)
def test_a_file_that_cannot_be_written_says_why(machine: Machine, entry: str, why: str) -> None:
    report = machine.apply("boot", f"write_files: [{{path: /etc/x, {entry}}}]\n")
    assert [why in result.reason for result in report.failed] == [True]
    assert not (machine.root / "etc/x").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("owner", "ids"),
    [("rancher", (1000, 1000)), ("root:adm", (0, 4)), ("'5:6'", (5, 6)), ("1000", (1000, 0))],
)
def test_a_file_belongs_to_its_owner(machine: Machine, owner: str, ids: tuple[int, int]) -> None:
    machine.apply("boot", f"write_files: [{{path: /etc/x, owner: {owner}}}]\n")
    status = (machine.root / "etc/x").stat()
    assert (status.st_uid, status.st_gid) == ids


def test_what_a_command_appended_is_not_lost_in_a_later_phase(machine: Machine) -> None:
    config = "write_files: [{path: /etc/x, content: one}]\n"
    machine.apply("initrd", config)
    (machine.root / "etc/x").unlink()  # the initrd's root is gone
    machine.apply("boot")
    with (machine.root / "etc/x").open("a") as file:
        file.write(" two")
    machine.apply("runtime")
    assert machine.text("etc/x") == "one two"
    machine.apply("runtime", config.replace("one", "three"))
    assert machine.text("etc/x") == "three"


def test_links_never_lead_out_of_the_root(machine: Machine) -> None:
    (machine.root / "etc/out").symlink_to("/../../../../tmp")
    (machine.root / "usr").symlink_to("/var")
    machine.apply("boot", "write_files: [{path: /etc/out/k3os-x}, {path: /usr/y}]\n")
    assert (machine.root / "tmp/k3os-x").exists()
    assert (machine.root / "var/y").exists()


def password(machine: Machine) -> str:
    return machine.text("etc/shadow").splitlines()[1].split(":")[1]


@pytest.mark.parametrize("clear", ["secret", "$not$a$hash", "pässwörd", "$6$short"])
def test_a_clear_password_is_hashed_before_it_is_stored(machine: Machine, clear: str) -> None:
    machine.apply("boot", f"k3os: {{password: '{clear}'}}\n")
    stored = password(machine)
    assert stored.startswith("$6$")
    assert crypt(clear, stored) == stored
    lines = machine.text("etc/shadow").splitlines()
    assert (lines[0], lines[2]) == ("root:*:19000::::::", "last:*:1::::::")


@pytest.mark.parametrize(
    "form",
    [
        "$1$saltsalt$qjXMvbEw8oaL.CzflDugk/",
        "$2b$10$abcdefghijklmnopqrstuuO3vQmhdyOYwiA0V3kYQ8v0a1m3b2c4de",
        "$y$j9T$abcdefghijklmnopqrstu.$0123456789abcdefghijklmnopqrstuvwxyz./ABCDE",
        "$5$saltsalt$0123456789abcdefghijklmnopqrstuvwxyz./ABCDE",
    ],
)
def test_a_password_in_crypt_form_is_stored_as_it_is(machine: Machine, form: str) -> None:
    assert is_crypt(form)
    machine.apply("boot", f"k3os: {{password: {form}}}\n")
    assert password(machine) == form


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("kernel.printk", "/proc/sys/kernel/printk"),
        ("net.ipv4.conf.eth0/100.rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
        ("net/ipv4/conf/eth0.100/rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
    ],
)
def test_names_of_sysctls_are_those_of_sysctl_conf(name: str, path: str) -> None:
    assert path_of(name) == path


def test_one_bad_sysctl_does_not_stop_the_others(machine: Machine) -> None:
    report = machine.apply(
        "runtime", "k3os: {sysctls: {no.such: 1, ../../etc/x: 1, kernel.printk: 4 4 1 7}}\n"
    )
    assert machine.text("proc/sys/kernel/printk") == "4 4 1 7\n"
    assert len(report.failed) == 2
    assert "kernel/printk = 4 4 1 7\n" in machine.text("etc/sysctl.d/zz-k3os.conf")


def test_the_environment_reaches_logins_and_k3s(machine: Machine) -> None:
    machine.put("etc/environment", "LANG=C\n")
    report = machine.apply("boot", "k3os: {environment: {A: 'b $c \"d', bad-name: x, N: 1.10}}\n")
    assert machine.text("etc/rancher/k3s/k3s.env") == ('LANG="C"\nA="b \\$c \\"d"\nN="1.10"\n')
    assert machine.mode("etc/rancher/k3s/k3s.env") == 0o600
    assert machine.mode("etc/rancher/k3s") == 0o2750
    assert machine.text("etc/environment").startswith("LANG=C\n")
    assert 'N="1.10"\n' in machine.text("etc/environment")
    wrong = [(each.key, each.hint) for each in report.problems if each.is_error]
    assert wrong == [("k3os.environment.bad-name", "write bad_name")]


def test_the_initrd_has_no_users_and_writes_the_file_all_the_same(machine: Machine) -> None:
    (machine.root / "etc/passwd").unlink()
    report = machine.apply("initrd", "write_files: [{path: /run/x, content: a, owner: rancher}]\n")
    assert not report.failed
    assert "root's until the boot phase" in report.results[-1].reason
    assert machine.text("run/x") == "a"
