"""Files and commands of another distribution or init system, and their equivalents in k3OS.

Programs here: systemd, connman, what packages.py installs. One warning each, not an error: a file
may be meant for a container, and a command may check where it runs.
"""

from __future__ import annotations

import re

from k3os.config.value import Problem, Value, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

OPENRC = "k3OS starts services with systemd, not with OpenRC"
NETWORK = "connman manages the network, and nothing reads this"
PACKAGES = "k3OS has no package manager"
UNIT = "write a unit, e.g. /etc/systemd/system/NAME.service, and start it in run_cmd"
CONTAINER = "run the program in a container, or put a static one into /opt by write_files"
USERS = "replaces the users of the system, and nobody could log in"
ONE_USER = "the only user is rancher: write ssh_authorized_keys and k3os.password"
K3S = "k3OS starts k3s itself"
EARLY = "k3s is not started yet when this runs"
READ_ONLY = "/usr is read-only, except /usr/local"

# a path, or a directory (/ at the end) -> what is wrong, the equivalent here
PATHS = (
    ("/etc/conf.d/k3s", "k3s is not started by OpenRC", "write k3os.k3s_args, k3os.environment"),
    ("/etc/init.d/k3s", "k3s is not started by OpenRC", "write k3os.k3s_args, k3os.environment"),
    ("/etc/systemd/system/k3s.service", K3S, "write k3os.k3s_args"),
    ("/etc/systemd/system/k3s-agent.service", K3S, "write k3os.k3s_args"),
    ("/etc/conf.d/", OPENRC, UNIT),
    ("/etc/init.d/", OPENRC, UNIT),
    ("/etc/runlevels/", OPENRC, UNIT),
    ("/etc/rc.conf", OPENRC, UNIT),
    ("/etc/inittab", OPENRC, "consoles come from the kernel's `console=`"),
    ("/etc/init/", "k3OS starts services with systemd, not with Upstart", UNIT),
    ("/etc/network/", NETWORK, "write k3os.network"),
    ("/etc/netplan/", NETWORK, "write k3os.network"),
    ("/etc/sysconfig/network", NETWORK, "write k3os.network"),
    ("/etc/NetworkManager/", NETWORK, "write k3os.network or k3os.wifi"),
    ("/etc/udhcpc/", NETWORK, "write k3os.network"),
    ("/etc/dhcpcd.conf", NETWORK, "write k3os.network"),
    ("/etc/wpa_supplicant/", NETWORK, "write k3os.wifi"),
    ("/etc/connman/main.conf", "k3OS writes it, too", "write k3os.dns_nameservers and so on"),
    ("/etc/resolv.conf", "connman writes this file", "write k3os.dns_nameservers"),
    ("/etc/hostname", "k3OS writes this file", "write hostname"),
    ("/etc/sysctl.conf", "nothing reads this at boot", "write k3os.sysctls"),
    ("/etc/ntp.conf", "connman asks the time servers", "write k3os.ntp_servers"),
    ("/etc/chrony/", "connman asks the time servers", "write k3os.ntp_servers"),
    ("/etc/chrony.conf", "connman asks the time servers", "write k3os.ntp_servers"),
    ("/etc/apk/", PACKAGES, CONTAINER),
    ("/etc/apt/", PACKAGES, CONTAINER),
    ("/etc/yum.repos.d/", PACKAGES, CONTAINER),
    ("/etc/docker/", "there is no Docker", "write k3os.registries"),
    ("/etc/periodic/", "there is no cron", "write a systemd timer or a CronJob"),
    ("/etc/crontab", "there is no cron", "write a systemd timer or a CronJob"),
    ("/etc/cron.", "there is no cron", "write a systemd timer or a CronJob"),
    ("/var/spool/cron/", "there is no cron", "write a systemd timer or a CronJob"),
    ("/etc/cloud/", "there is no cloud-init", "its settings are keys of config.yaml"),
    ("/home/rancher/.ssh/authorized_keys", "k3OS writes this file", "write ssh_authorized_keys"),
    ("/root/.ssh/authorized_keys", "root is locked", "log in as rancher: ssh_authorized_keys"),
    ("/usr/local/", "", ""),
    *((path, READ_ONLY, "write below /usr/local or /etc") for path in ("/usr/", "/bin/", "/sbin/")),
    *((path, READ_ONLY, "write below /usr/local or /etc") for path in ("/lib/", "/lib64/")),
    ("/k3os/", "is read-only on a running node", "/var/lib/rancher/k3os/config.yaml is yours"),
    *((path, USERS, ONE_USER) for path in ("/etc/passwd", "/etc/shadow", "/etc/group")),
)

ROLES, INSTALLER, SCRIPTS = ("server", "agent"), "get.k3s.io", "/etc/init.d/"
ALPINE = "this is not Alpine"
SETUP = ("timezone", "hostname", "keymap", "interfaces", "dns", "ntp", "sshd", "disk", "apkrepos")
# how a command begins -> what is wrong, the equivalent here
COMMANDS = (
    ("rc-update", OPENRC, UNIT),
    ("rc-service", OPENRC, "write `systemctl restart NAME`"),
    ("service", OPENRC, "write `systemctl restart NAME`"),
    ("openrc", OPENRC, UNIT),
    ("update-rc.d", OPENRC, UNIT),
    ("chkconfig", OPENRC, UNIT),
    ("initctl", OPENRC, UNIT),
    *((name, PACKAGES, CONTAINER) for name in ("apk", "apt", "apt-get", "yum", "dnf", "zypper")),
    *((name, PACKAGES, CONTAINER) for name in ("pacman", "snap", "opkg", "dpkg", "rpm")),
    *((name, EARLY, "write it into ready_cmd") for name in ("kubectl", "crictl", "ctr")),
    *((f"k3s {role}", K3S, "write k3os.k3s_args") for role in ROLES),
    (INSTALLER, K3S, "leave it out; its settings are keys of config.yaml"),
    (SCRIPTS, OPENRC, "write `systemctl restart NAME`"),
    ("helm", "there is no helm", "write a HelmChart into k3os.manifests"),
    *((f"setup-{name}", ALPINE, "its settings are keys of config.yaml") for name in SETUP),
    ("setup-alpine", ALPINE, "its settings are keys of config.yaml"),
    ("lbu", ALPINE, "leave it out: the state partition persists"),
    ("ros", "this is not RancherOS", "its settings are keys of config.yaml"),
    ("netplan", NETWORK, "write k3os.network"),
    ("nmcli", NETWORK, "write k3os.network or k3os.wifi"),
    ("ifup", NETWORK, "write k3os.network"),
    ("ifdown", NETWORK, "write k3os.network"),
    ("cloud-init", "there is no cloud-init", "leave it out"),
    ("docker", "there is no Docker", "write `k3s ctr`, or run it as a pod"),
    ("crontab", "there is no cron", "write a systemd timer or a CronJob"),
    ("ufw", "there is no ufw", "write `nft` or `iptables`"),
    ("firewall-cmd", "there is no firewalld", "write `nft` or `iptables`"),
)
_BY_COMMAND = {name: (what, hint) for name, what, hint in COMMANDS}
# words that precede a command
WRAPPERS = (
    *("sudo", "exec", "command", "nohup", "time", "env", "if", "then", "do", "else", "until"),
    *("while", "!"),
)
BEFORE_K3S = ("init_cmd", "boot_cmd", "run_cmd")
COMMAND_KEYS = ("init_cmd", "boot_cmd", "run_cmd", "ready_cmd", "k3os.upgrade.check")


def files(values: dict[str, Value]) -> Iterator[Problem]:
    """A warning for each file of write_files that nothing on a node reads."""
    value = values.get("write_files")
    for index, item in numbered(value):
        assert isinstance(item.data, dict)
        path = item.data["path"]
        what, hint = _of_path(str(path.data))
        if what:
            yield Problem(path.place, f"write_files[{index}].path", what, hint, is_error=False)


def _of_path(path: str) -> tuple[str, str]:
    for known, what, hint in PATHS:
        if path == known or (known.endswith(("/", ".")) and path.startswith(known)):
            return what, hint
    return "", ""


def commands(values: dict[str, Value]) -> Iterator[Problem]:
    """A warning for each program in commands that this system does not have."""
    for key in COMMAND_KEYS:
        value = values.get(key)
        for index, item in numbered(value):
            for program in dict.fromkeys(programs(item)):
                what, hint = _BY_COMMAND.get(program, ("", ""))
                if what and not (what == EARLY and key not in BEFORE_K3S):
                    message = f"`{program}`: {what}"
                    yield Problem(item.place, f"{key}[{index}]", message, hint, is_error=False)


def programs(item: Value) -> list[str]:
    """The programs that a command starts, as far as its words show."""
    if isinstance(item.data, list):
        words = [str(word.data) for word in item.data]
        if len(words) > 2 and words[0].rpartition("/")[2] in ("sh", "bash") and "-c" in words[1]:
            return _started(words[2])
        return _started(" ".join(words[:3]))
    return _started(str(item.data))


def _started(text: str) -> list[str]:
    found = [INSTALLER] if INSTALLER in text else []
    for part in re.split(r"[;&|\n(`]+|\$\(", text):
        before = ""
        for word in part.split():
            if word in WRAPPERS or re.match(r"-|[A-Za-z_]\w*=", word):
                continue
            if word.startswith(SCRIPTS):
                found.append(SCRIPTS)
                break
            name = word.rpartition("/")[2]
            if name == "k3s" and not before:
                before = "k3s "  # its subcommands, or a bundled tool
                continue
            found.append(f"{before}{name}" if name in ROLES else name)
            break
    return found
