"""A key that config.yaml does not have: what its author probably meant.

Keys of cloud-init: https://cloudinit.readthedocs.io/en/latest/reference/modules.html. Imported only
if a source has such a key.
"""

from __future__ import annotations

from k3os.config.schema import BOOT_OPTIONS, BY_PATH, SECTIONS
from k3os.config.spelling import fold, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Node

NO_EFFECT = "it has no effect"
NO_PACKAGES = "k3OS installs no packages: run the program in a container, or put a file into /opt"
ONE_USER = "the only user is rancher: write ssh_authorized_keys and k3os.password"
NO_ZONE = "the node's clock is UTC; give pods a TZ"
DISKS = "write k3os.disks for an empty disk, k3os.mounts for what is there"

# folded name -> the equivalent here
CLOUD_INIT = {
    fold(name): hint
    for names, hint in (
        ("users user groups", ONE_USER),
        ("chpasswd", "write k3os.password"),
        ("ssh_pwauth disable_root", "leave it out: with k3os.password that counts over ssh, too"),
        ("ssh_import_id", "write `ssh_authorized_keys: [github:NAME]`"),
        ("fqdn", "write hostname"),
        ("preserve_hostname prefer_fqdn_over_hostname manage_etc_hosts", "leave it out"),
        ("ntp", "write k3os.ntp_servers"),
        ("resolv_conf manage_resolv_conf", "write k3os.dns_nameservers"),
        ("ca_certs ca-certs", "write k3os.ca_certificates"),
        ("packages package_update package_upgrade package_reboot_if_required", NO_PACKAGES),
        ("apt apt_update apt_upgrade yum_repos zypper snap apk_repos", NO_PACKAGES),
        ("disk_setup fs_setup mounts mount_default_fields", DISKS),
        ("growpart resize_rootfs", "leave it out: the state partition grows by itself"),
        ("swap", "write k3os.swap"),
        ("timezone", NO_ZONE),
        ("locale keyboard", "leave it out: the consoles are English"),
        ("power_state", "write `k3os.install.power_off: true`, or a command in run_cmd"),
        ("final_message phone_home", "write a command in ready_cmd"),
        ("ssh_keys ssh_deletekeys ssh_genkeytypes", "the node makes its host keys itself"),
        ("output datasource datasource_list merge_how", "leave it out"),
        ("cloud_init_modules cloud_config_modules cloud_final_modules", "leave it out"),
        ("system_info ansible chef puppet salt_minion rsyslog wireguard", "use run_cmd"),
    )
    for name in names.split()
}

# section -> folded name, as in the original or in common use -> name here
FORMER = {
    "k3os": {
        "arg": "k3os.k3s_args",
        "k3sarg": "k3os.k3s_args",
        "url": "k3os.server_url",
        "server": "k3os.server_url",
        "k3surl": "k3os.server_url",
        "clustersecret": "k3os.token",
        "k3stoken": "k3os.token",
        "dn": "k3os.dns_nameservers",
        "nameserver": "k3os.dns_nameservers",
        "ntp": "k3os.ntp_servers",
        "nodelabel": "k3os.labels",
        "nodetaint": "k3os.taints",
        "env": "k3os.environment",
        "sysctl": "k3os.sysctls",
        "sshkey": "ssh_authorized_keys",
        "datasource": "k3os.data_sources",
        "k3": "k3os.k3s_args",
        "role": "k3os.k3s_args",
        "clustertoken": "k3os.token",
        "joinurl": "k3os.server_url",
        "kernelmodule": "k3os.modules",
        fold("wireless"): "k3os.wifi",
        "mountpoint": "k3os.mounts",
        "volume": "k3os.mounts",
    },
    "k3os.registries": {"auth": "k3os.registries.configs"},
    "k3os.install": {
        "efi": "k3os.install.force_efi",
        "config": "k3os.install.config_url",
        "iso": "k3os.install.iso_url",
        "disk": "k3os.install.device",
        "dev": "k3os.install.device",
        "console": "k3os.install.tty",
        "url": "k3os.install.config_url or k3os.install.iso_url",
        "formatted": "k3os.install.no_format",
    },
    "": {
        "k3": "k3os.k3s_args",
        "sshkey": "ssh_authorized_keys",
        "file": "write_files",
        "cmd": "run_cmd",
    },
}

# keys that other systems have at the top level, in another format
OWN_FORM = {fold(name): f"k3os.{name}" for name in ("network", "mounts")}

# fields in entries
FIELDS = {
    "source": "k3OS fetches no file: give its content, or fetch it in run_cmd",
    "defer": "leave it out: a file is written when its owner exists",
    "mode": "write permissions",
    "perms": "write permissions",
    "chmod": "write permissions",
    "filename": "write path",
    "file": "write path",
    "dest": "write path",
    "destination": "write path",
    "data": "write content",
    "text": "write content",
    "body": "write content",
    "key": "write passphrase",
    "netmask": "write its length behind the address: `192.168.1.10/24`",
    "user": "write owner",
    "group": "write `owner: user:group`",
    "password": "write passphrase",
    "psk": "write passphrase",
    "dhcp4": "write `address: dhcp`",
    "dhcp": "write `address: dhcp`",
    "ip": "write address",
    "gateway4": "write gateway",
    "gateway6": "write gateway",
    "dn": "write nameservers",
    "search": "write domains",
    **dict.fromkeys(
        ("dhcp4-overrides", "dhcp6-overrides", "ra-overrides"),
        "write use_dns, use_routes and route_metric beside address",
    ),
    "set-name": "leave it out: interfaces keep the kernel's names, and entries have their own",
    "auth": "write eap",
    "security": "leave it out: a passphrase is that of WPA2 or WPA3; accounts are `eap: …`",
    "identity": "write it below `eap:`",
}

HIDDEN = {
    "\u00a0": "a no-break space",
    "\u202f": "a no-break space",
    "\u200b": "an invisible character",
    "\u200d": "an invisible character",
    "\ufeff": "an invisible character",
    "\u3000": "a wide space",
}
TYPOGRAPHIC = "“”„‘’‚«»"
QUOTE = "a typographic quote"


def hidden_in(text: str) -> str:
    """Invisible characters that a word processor or web page inserted, in words; "" for none."""
    for sign, what in HIDDEN.items():
        if sign in text:
            return what
    return QUOTE if any(sign in text for sign in TYPOGRAPHIC) else ""


def explain(name: Node, path: str, siblings: Node, known: dict[str, str]) -> tuple[str, str]:
    """What is wrong with a key of the map at path, and what to write."""
    full = f"{path}.{name.text}" if path else name.text
    section, _, last = full.rpartition(".")
    hidden = hidden_in(name.text)
    if hidden:
        return f"is an unknown key: there is {hidden} in it", "type the line again"
    if "[" in path or (path and path not in SECTIONS):
        hint = FIELDS.get(last.lower()) or _similar(last, known) or NO_EFFECT
        if name.text.startswith("/") and "path" in known.values():
            hint = f"write `- path: {name.text}`"
        return "is an unknown key", hint
    if full in BOOT_OPTIONS or (section and f"k3os.{last}" in BOOT_OPTIONS):
        return "has no effect in a file", f"write `k3os.{last}` on the kernel's command line"
    on_cmdline = name.place.source.startswith("cmdline")
    if not section and fold(last) == "rancher":
        hint = "its settings stand below `k3os:`, under other names"
        return "is a key of RancherOS", hint
    former = FORMER.get(section, {}).get(fold(last), "")
    if former:
        return "has another name here", f"write {former}"
    if not section and fold(last) in OWN_FORM:
        key = OWN_FORM[fold(last)]
        return "is at the wrong level", f"{key} is the key; it has a form of its own"
    likely = _similar(last, known) if section == path else ""
    elsewhere = "" if likely and fold(last) in CLOUD_INIT else _elsewhere(section, last)
    if elsewhere:
        return "is at the wrong level", _level(elsewhere, siblings, on_cmdline)
    if fold(last) in CLOUD_INIT and not section:
        return "is a key of cloud-init that k3OS does not have", CLOUD_INIT[fold(last)]
    if section == "k3os":
        found = _of_k3s(last) or CLOUD_INIT.get(fold(last), "")
        if found:
            return "is not a key of k3OS", found
    paths = {each: each for each in BY_PATH}
    return "is an unknown key", likely or _similar(last, paths) or NO_EFFECT


def _of_k3s(last: str) -> str:
    """What to write for a k3s flag that is used as a key."""
    from k3os.config.k3s_table import flags

    for name, flag in flags("server").items():
        if fold(name) == fold(last) and len(name) > 1:
            value = "" if flag.kind == "?" else "=…"
            return f"write `--{flag.name}{value}` in k3os.k3s_args"
    return ""


def _similar(name: str, known: dict[str, str]) -> str:
    likely = nearest(name, [each.rpartition(".")[2] for each in known.values()])
    return f"did you mean {likely}?" if likely else ""


def _elsewhere(section: str, last: str) -> str:
    """The path of the key that has this name in another section, or whose path it is."""
    paths = [*BY_PATH, *(each for each in SECTIONS if each)]
    whole = f"{section}.{last}" if section else last
    same = [each for each in paths if fold(each) == fold(whole)]
    same += [each for each in paths if fold(each.rpartition(".")[2]) == fold(last)]
    return min(same, key=lambda each: (not _is_near(each, section), len(each)), default="")


def _is_near(path: str, section: str) -> bool:
    return path.rpartition(".")[0] in (section, "k3os")


def _level(path: str, siblings: Node, on_cmdline: bool) -> str:
    if on_cmdline:
        return f"write `{path}=…`"
    section, _, name = path.rpartition(".")
    if not section:
        return f"write {name} at the top level, without indentation"
    empty = any(key.text == "k3os" and value.kind == "null" for key, value in siblings.pairs)
    if empty and section == "k3os":
        return "indent the lines below `k3os:` by two spaces"
    return f"write {name} below `{': '.join(section.split('.'))}:`, indented"
