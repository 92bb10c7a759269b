"""Turn the new root into this machine's, before and after the boot phase.

What depends on the mode or the machine, but on no configuration key: identity, kernel defaults,
storage, the k3s link. What a person sees is in consoles.py. Everything here runs on each boot.
"""

import os
import stat
from functools import partial

from k3os.boot import clock, consoles, memory
from k3os.boot.steps import try_each
from k3os.paths import EXTENSIONS, K3S_CURRENT, K3S_FETCHED, K3S_LINK, RUN_UNITS, STATE
from k3os.system.console import console_devices
from k3os.system.files import atomic_write

# whoever is at the console in these modes booted them on purpose
MEMORY_MODES = ("live", "install", "shell")


def before_phase(mode: str) -> None:
    """What the boot phase relies on: the machine's identity."""
    machine = machine_id()
    target = K3S_CURRENT if os.path.exists(K3S_CURRENT) else K3S_FETCHED
    devices = f"/usr/lib/modules/{os.uname().release}/modules.devname"
    try_each(
        {
            # /etc/rancher/node leads there: k3s' password for this node, without which no cluster
            # accepts it
            "make room for k3s' password of this node": lambda: os.makedirs(
                f"{STATE}/node", mode=0o700, exist_ok=True
            ),
            "write /etc/machine-id": lambda: atomic_write(
                "/etc/machine-id", machine.encode() + b"\n", mode=0o444
            ),
            "link k3s": lambda: os.symlink(target, K3S_LINK),
            "name this node for iSCSI and NVMe": lambda: name_for_storage(machine),
            "set the image's sysctls": apply_sysctl_defaults,
            "tune the kernel's memory": memory.tune,
            "make device nodes": lambda: make_static_nodes(devices),
        }
    )
    if os.path.exists(EXTENSIONS):
        from k3os.boot import extensions

        try_each({"make the users of extensions": extensions.add_users})
    if mode in MEMORY_MODES:
        try_each({"keep the journal small": keep_journal_small, "greet": consoles.greet})


def name_for_storage(machine: str) -> None:
    """Name this node for machines whose disks it uses: the same name at each boot."""
    name = f"InitiatorName=iqn.2016-04.io.k3os:{machine[:12]}\n"
    atomic_write("/etc/iscsi/initiatorname.iscsi", name.encode(), mode=0o600)
    os.makedirs("/etc/nvme", exist_ok=True)
    for path, text in nvme_names(machine).items():
        atomic_write(path, text.encode() + b"\n")


def after_phase(mode: str) -> None:
    """What depends on the boot phase's result: the clock, who may log in where, the banner."""
    if mode == "install":
        install_now()
    login = ""

    def find_login() -> None:
        nonlocal login
        login = consoles.autologin_user() if mode in MEMORY_MODES else ""

    try_each(
        {
            # the boot phase's modules and commands may have corrected the clock
            "look at the clock": lambda: clock.check(_first_line("/etc/machine-id")),
            "see who may log in": find_login,
            "write the banner": consoles.write_banner,
        }
    )
    names = [device.rpartition("/")[2] for device in console_devices()]
    try_each({f"offer a login on {name}": partial(consoles.add, name, login) for name in names})


def _first_line(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.readline().strip()


def machine_id() -> str:
    """The persistent machine-id(5): 32 hexadecimal digits, created at the first boot. If it cannot
    be stored, it is valid for this boot only."""
    path = f"{STATE}/machine-id"
    try:
        with open(path, errors="surrogateescape") as file:
            known = file.read().strip()
        if len(known) == 32 and all(character in "0123456789abcdef" for character in known):
            return known
    except OSError:
        known = ""  # create a new one
    fresh = os.urandom(16).hex()

    def keep() -> None:
        os.makedirs(STATE, exist_ok=True)
        atomic_write(path, fresh.encode() + b"\n", mode=0o444, sync=True)

    try_each({"keep this machine's id": keep})
    return fresh


def nvme_names(machine: str) -> dict[str, str]:
    """This node's names for storage over NVMe (nvme-connect(1)): a UUID, the same at each boot."""
    uuid = "-".join((machine[:8], machine[8:12], machine[12:16], machine[16:20], machine[20:]))
    return {
        "/etc/nvme/hostid": uuid,
        "/etc/nvme/hostnqn": f"nqn.2014-08.org.nvmexpress:uuid:{uuid}",
    }


# modes of device nodes that users other than root open; all others get 0600
NODE_MODES = {"fuse": 0o666, "net/tun": 0o666, "kvm": 0o660, "vhost-net": 0o660}


def make_static_nodes(listing: str, devices: str = "/dev") -> None:
    """Create the device nodes whose opening loads a module (kmod(8), static-nodes): /dev/fuse etc.

    listing: modules.devname, lines of "module name type-letter-major:minor".
    """
    try:
        with open(listing, errors="surrogateescape") as file:
            lines = [line.split() for line in file if not line.startswith("#")]
    except FileNotFoundError:
        return  # modules of a foreign kernel may have none
    for _, name, number in (line for line in lines if len(line) == 3):
        path = f"{devices}/{name}"
        if os.path.exists(path):
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        kind = stat.S_IFCHR if number[0] == "c" else stat.S_IFBLK
        major, minor = number[1:].split(":")
        mode = NODE_MODES.get(name, 0o600)
        os.mknod(path, kind | mode, os.makedev(int(major), int(minor)))
        os.chmod(path, mode)


def keep_journal_small() -> None:
    """A live system's journal is in memory, where journald's steps of 8 MiB are too large."""
    os.makedirs("/run/systemd/journald.conf.d", exist_ok=True)
    with open("/run/systemd/journald.conf.d/20-live.conf", "w") as file:
        file.write("[Journal]\nSystemMaxUse=16M\nSystemMaxFileSize=1M\n")


def apply_sysctl_defaults(directory: str = "/usr/lib/sysctl.d", root: str = "/proc/sys") -> None:
    """Set the image's defaults (sysctl.d(5)) before the phases, whose values take precedence.

    A key that this kernel does not have is skipped: the defaults are written for any kernel.
    """
    for name in sorted(os.listdir(directory)):
        with open(f"{directory}/{name}", errors="surrogateescape") as file:
            for line in file:
                key, equals, value = line.partition("=")
                if not equals or line[0] in "#;":
                    continue
                path = f"{root}/{key.strip().lstrip('-').replace('.', '/')}"
                if os.path.exists(path):
                    with open(path, "w") as setting:
                        setting.write(value.strip())


VAR_MOUNT = """\
[Unit]
# journald and pods use it to the end: systemd-shutdown(8) takes care of it
DefaultDependencies=no

[Mount]
What=/k3os/data/var
Where=/var
Type=none
Options=bind
"""


def keep_var_mounted() -> None:
    """A whole unit: those that need /var load var.mount before a drop-in for it takes effect."""
    os.makedirs(RUN_UNITS, exist_ok=True)
    with open(f"{RUN_UNITS}/var.mount", "w") as file:
        file.write(VAR_MOUNT)


def install_now() -> None:
    """The install mode: the installer instead of k3s."""
    os.makedirs(RUN_UNITS, exist_ok=True)
    for name in ("k3s.service", "k3os-k3s-fetch.service"):
        os.symlink("/dev/null", f"{RUN_UNITS}/{name}")
    start_unit("k3os-install.service")


def start_unit(name: str) -> None:
    """Have systemd start a unit of the image in this boot."""
    wants = f"{RUN_UNITS}/multi-user.target.wants"
    os.makedirs(wants, exist_ok=True)
    os.symlink(f"/usr/lib/systemd/system/{name}", f"{wants}/{name}")
