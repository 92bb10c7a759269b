"""Values that are formally right, but useless on a node: modprobe, /proc/sys, wpa_supplicant or the
installer would reject them. Part of the advice, so not imported at boot.
"""

from __future__ import annotations

import re

from k3os.config.value import Problem, Value, numbered
from k3os.system.numbers import are_digits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

EACH = "write each as an item of the list"
# parameters of kernel modules contain `=`, except for a few switches
SWITCHES = ("debug", "nopat", "noexec")
# a path below /proc/sys, in either notation (proc_sysctl)
SYSCTL = r"[A-Za-z0-9_]+([./][A-Za-z0-9_.:@/-]+)+"
SHORTEST, LONGEST = 8, 63  # of a passphrase, IEEE 802.11; 64 characters are the key itself, in hex
SCHEMES = {
    "k3os.install.iso_url": ("http", "https"),
    "k3os.install.config_url": ("http", "https", "ftp", "tftp", "file"),
}
# from base-passwd, and from the packages in the image
USERS = (
    *("root", "rancher", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news"),
    *("uucp", "proxy", "www-data", "backup", "list", "irc", "_apt", "nobody", "sshd", "statd"),
    *("messagebus", "systemd-network", "systemd-timesync", "_rpc"),
)
# directories of the image and the running system; DIRECTORIES adds those above them
_DEEPEST = """
/bin /boot /dev /etc/apparmor.d /etc/cni/net.d /etc/iscsi /etc/local.d /etc/modprobe.d
/etc/modules-load.d /etc/nvme /etc/profile.d /etc/rancher/k3s /etc/rancher/node /etc/ssh
/etc/ssl/certs /etc/sysctl.d /etc/systemd/network /etc/systemd/system /etc/udev/rules.d
/home/rancher/.ssh /k3os/data /k3os/system /lib /lib64 /media /mnt /opt/cni/bin /proc /root
/run/k3os /sbin /srv /sys /tmp /usr/bin /usr/lib /usr/local/bin /usr/local/sbin /usr/sbin /usr/share
/var/lib/connman /var/lib/kubelet /var/lib/rancher/k3os/config.d /var/lib/rancher/k3s/agent/etc
/var/lib/rancher/k3s/agent/images /var/lib/rancher/k3s/server/manifests
/var/lib/rancher/k3s/server/static /var/log /var/tmp
"""
DIRECTORIES = {
    path.rsplit("/", above)[0] for path in _DEEPEST.split() for above in range(path.count("/"))
}


def check(values: dict[str, Value]) -> Iterator[Problem]:
    """A warning for each, or an error if an installation would fail."""
    yield from _modules(values)
    yield from _sysctls(values)
    yield from _addresses(values)
    yield from _node_names(values)
    for index, entry in _entries(values, "k3os.wifi"):
        value = entry.get("passphrase")
        size = len(str(value.data).encode(errors="replace")) if value is not None else SHORTEST
        if value is None or "$" in str(value.data):
            continue
        if not SHORTEST <= size <= LONGEST + 1:
            message = f"no network accepts it: a passphrase has {SHORTEST} to {LONGEST} characters"
            path = f"k3os.wifi[{index}].passphrase"
            yield Problem(value.place, path, message, "write the whole one", is_error=False)
    yield from _directories(values)
    commands = _commands(values)
    if "useradd" in commands or "adduser" in commands:
        return
    for index, entry in _entries(values, "write_files"):
        user = str(entry["owner"].data).partition(":")[0] if "owner" in entry else "root"
        if user not in USERS and not are_digits(user) and "$" not in user:
            message, hint = f"there is no user `{user}` here", "write `rancher` or `root`"
            path = f"write_files[{index}].owner"
            yield Problem(entry["owner"].place, path, message, hint, is_error=False)


def _directories(values: dict[str, Value]) -> Iterator[Problem]:
    """An error for each entry of write_files whose path is a directory."""
    from posixpath import normpath

    paths = [(index, entry["path"]) for index, entry in _entries(values, "write_files")]
    whole = [f"/{normpath(str(path.data)).strip('/')}" for _, path in paths]
    for (index, path), name in zip(paths, whole, strict=True):
        inside = next((each for each in whole if each.startswith(f"{name}/")), "")
        if name not in DIRECTORIES and not inside:
            continue
        message = f"`{name}` is a directory" + (f": {inside} is to be in it" if inside else "")
        hint = "write the path of the file"
        yield Problem(path.place, f"write_files[{index}].path", message, hint)


def _modules(values: dict[str, Value]) -> Iterator[Problem]:
    for index, item in numbered(values.get("k3os.modules")):
        name, *rest = str(item.data).split()
        message = hint = ""
        if name in ("modprobe", "insmod"):
            message, hint = f"`{name}` is not a module", f"write `{' '.join(rest)}`"
        elif not re.fullmatch(r"[A-Za-z0-9_-]+", name) and "$" not in name and name.isascii():
            file = name.rpartition("/")[2].partition(".ko")[0]
            message = f"`{name}` is not a module"
            hint = f"write `{file}`" if re.fullmatch(r"[A-Za-z0-9_-]+", file) else EACH
        elif any("=" not in word and word not in SWITCHES for word in rest):
            message = f"what follows `{name}` is not a parameter `name=value`"
            hint = f"{EACH}, if it is a module"
        if message:
            path = f"k3os.modules[{index}]"
            yield Problem(item.place, path, message, hint, is_error=False)


def _sysctls(values: dict[str, Value]) -> Iterator[Problem]:
    value = values.get("k3os.sysctls")
    for name, item in value.data.items() if value and isinstance(value.data, dict) else []:
        path = f"k3os.sysctls.{name}"
        if not re.fullmatch(SYSCTL, name):
            hint = "write `name: value`, e.g. `vm.max_map_count: 262144`"
            yield Problem(item.place, path, "is not a kernel setting", hint, is_error=False)
        elif "#" in str(item.data):
            message, hint = "has a comment in it", "write the value alone, without quotes"
            yield Problem(item.place, path, message, hint, is_error=False)


def _addresses(values: dict[str, Value]) -> Iterator[Problem]:
    for path, schemes in SCHEMES.items():
        value = values.get(path)
        scheme, separator, _ = str(value.data).partition("://") if value else ("", "", "")
        if value and separator and scheme.lower() not in schemes:
            names = f"{', '.join(schemes[:-1])} or {schemes[-1]}"
            message = f"is not fetched by {scheme}, only by {names}"
            yield Problem(value.place, path, message, "put it on a web server")


def _node_names(values: dict[str, Value]) -> Iterator[Problem]:
    """Node names outside of --node-name: in files for k3s, and in k3s' variable for it."""
    from k3os.config.hostnames import RULES, WRONG_NODE, is_node_name
    from k3os.config.k3s_files import is_settings, top_level

    found: list[tuple[str, Value, str]] = []
    for index, entry in _entries(values, "write_files"):
        content = entry.get("content")
        if content is not None and is_settings(str(entry["path"].data)):
            names = top_level(str(content.data)).get("node-name", [])
            found += [(f"write_files[{index}].content", content, name) for name in names]
    variables = values.get("k3os.environment")
    if variables is not None and isinstance(variables.data, dict):
        value = variables.data.get("K3S_NODE_NAME")
        if value is not None:
            found.append(("k3os.environment.K3S_NODE_NAME", value, str(value.data)))
    for path, value, name in found:
        if not is_node_name(name):
            yield Problem(value.place, path, f"`{name}` {WRONG_NODE}", RULES)


def _entries(values: dict[str, Value], path: str) -> list[tuple[int, dict[str, Value]]]:
    entries = numbered(values.get(path))
    return [(index, item.data) for index, item in entries if isinstance(item.data, dict)]


def _commands(values: dict[str, Value]) -> str:
    from k3os.config.elsewhere import COMMAND_KEYS
    from k3os.config.value import plain

    return str([plain(item) for key in COMMAND_KEYS for _, item in numbered(values.get(key))])
