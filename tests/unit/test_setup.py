"""scripts/setup with fake package managers: it must say what it does, or what to do."""

import shutil

import pytest

from k3os.system.run import CommandError, run
from scripts.docs import ROOT

TOOLS = ("sh", "dirname", "grep", "cat", "sha256sum", "cut", "mktemp", "tail", "rm", "env", "flock")


@pytest.fixture
def host(tmp_path):
    """A checkout with a complete .venv, and a PATH with only TOOLS in it."""
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    (checkout / "bin").mkdir()
    for name in ("scripts/setup", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout / name)
    stamp = run(["sh", "-c", "cat requirements.lock pyproject.toml | sha256sum"], cwd=str(ROOT))
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "k3os-setup").write_text(f"{stamp.decode().split()[0]} {checkout}\n")
    (checkout / ".venv" / "bin" / "python").symlink_to(shutil.which("true"))
    for tool in TOOLS:
        (checkout / "bin" / tool).symlink_to(shutil.which(tool))
    return Host(checkout)


class Host:
    def __init__(self, checkout):
        self.checkout = checkout
        self.calls = checkout / "calls"

    def program(self, name, text):
        path = self.checkout / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def has_packages(self, *, without=()):
        names = (ROOT / "scripts/setup").read_text().partition('packages="')[2].partition('"')[0]
        listing = "\n".join(f"{n} installed" for n in names.split() if n not in without)
        self.program("dpkg-query", f"cat <<'END'\n{listing}\nEND\nexit 1")

    def is_user(self, uid):
        self.program("id", f"echo {uid}")

    def has_apt(self, exit_code=0):
        self.program(
            "apt-get", f'echo "apt-get $*" >>{self.calls}; echo apt says no; exit {exit_code}'
        )

    def setup(self, *arguments):
        path = {"PATH": str(self.checkout / "bin"), "TMPDIR": str(self.checkout)}
        return run([str(self.checkout / "scripts/setup"), *arguments], env=path).decode()

    def called(self):
        return self.calls.read_text().splitlines() if self.calls.exists() else []


def test_it_is_quiet_and_calls_nothing_when_all_is_there(host):
    host.has_packages()
    host.is_user(1000)
    assert host.setup() == ""


def test_root_gets_the_missing_packages_and_only_those(host):
    host.has_packages(without=("ovmf", "xorriso"))
    host.is_user(0)
    host.has_apt()
    assert host.setup() == "setup: installing with apt: xorriso ovmf \n"
    assert host.called() == [
        "apt-get update -q",
        "apt-get install -q -y --no-install-recommends xorriso ovmf",
    ]


def test_what_a_lab_needs_is_installed_only_for_one(host):
    host.has_packages()
    host.is_user(0)
    host.has_apt()
    assert host.setup() == ""
    wanted = "dnsmasq-base gcc iproute2 libc6-dev"
    assert host.setup("lab") == f"setup: installing with apt: {wanted} \n"
    assert host.called()[-1].endswith(f" --no-install-recommends {wanted}")


def test_a_user_with_sudo_gets_them_through_sudo(host):
    host.has_packages(without=("ovmf",))
    host.is_user(1000)
    host.has_apt()
    host.program("sudo", f'echo "sudo $*" >>{host.calls}; [ "$1" = -n ] && shift; "$@"')
    host.program("true", "exit 0")
    host.setup()
    assert "sudo apt-get update -q" in host.called()
    assert host.called()[-1].endswith("--no-install-recommends ovmf")


def test_a_user_without_sudo_is_told_the_exact_line(host):
    host.has_packages(without=("ovmf", "mtools"))
    host.is_user(1000)
    with pytest.raises(CommandError) as caught:
        host.setup()
    assert caught.value.returncode == 1
    line = b"  apt-get update && apt-get install --no-install-recommends mtools ovmf \n"
    assert caught.value.output.endswith(line)


def test_a_machine_that_is_not_debian_is_told_what_is_needed(host):
    with pytest.raises(CommandError) as caught:
        host.setup()
    assert b"this is not Debian" in caught.value.output
    assert b"mmdebstrap uidmap squashfs-tools" in caught.value.output


def test_apt_that_fails_shows_why(host):
    host.has_packages(without=("ovmf",))
    host.is_user(0)
    host.has_apt(exit_code=100)
    with pytest.raises(CommandError) as caught:
        host.setup()
    assert b"apt says no\nsetup: apt failed; its log is " in caught.value.output
