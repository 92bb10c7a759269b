"""Configuration: files, the kernel's command line, and what is made of them."""

from __future__ import annotations

import os
import shutil

from k3os.errors import UserError
from tests.fuzz.target import target
from tests.fuzz.targets import scratch

KEYS = (
    "hostname: ssh_authorized_keys: write_files: content: path: permissions: owner: encoding: "
    "append: run_cmd: boot_cmd: init_cmd: ready_cmd: k3os: mode: data_sources: modules: sysctls: "
    "dns_nameservers: ntp_servers: wifi: ssid: passphrase: password: server_url: token: labels: "
    "k3s_args: environment: taints: network: address: gateway: vlan: mtu: upgrade: timeout: swap: "
    "zram: shutdown: grace_period: ca_certificates: operator: install: device: users: --disable= "
    "github:x NoSchedule eth0: 10.0.0.2/24 fd00::1/64 dhcp b64 gzip+b64 25% 1h30m"
)


@target("config", words=KEYS)
def config(data: bytes) -> object:
    """A config.yaml, its problems as people see them, and itself again."""
    from k3os.config.advice import advice
    from k3os.config.check import check_text
    from k3os.config.dump import dump_yaml
    from k3os.config.k3s_files import contradictions
    from k3os.config.load import Config
    from k3os.config.merge import merge

    values, problems = check_text(data, "config.yaml")
    problems += contradictions(values) + advice(values, "v1.33.1+k3s1")
    shown = [str(each) for each in problems]
    again, _ = check_text(dump_yaml(Config(values), show_secrets=True).encode(), "again")
    assert again.keys() == values.keys(), "what was dumped is read as something else"
    return shown, merge(values, again), Config(values).secrets()


@target("command-line", words='k3os. k3os.labels. hostname= [0] -- = " k3os.media_timeout= rescue')
def command_line(data: bytes) -> object:
    from k3os.boot.init import _wait_seconds, choose_mode
    from k3os.config.advice import of_cmdline
    from k3os.config.check import check_cmdline
    from k3os.config.cmdline import boot_options
    from k3os.system.console import calm

    text = scratch.text(data)
    options = boot_options(text)
    calm(text, scratch.file(b"4\t4\t1\t7\n", "printk"))
    shown = [str(each) for each in check_cmdline(text)[1] + of_cmdline(text)]
    return shown, _wait_seconds(options), choose_mode(options, "iso")


@target("migrate", words=KEYS, raises=(UserError,))
def migrate(data: bytes) -> object:
    from k3os.config.migrate import migrate as migrated

    return migrated(data, "config.yaml")


@target("phases", words=KEYS)
def phases(data: bytes) -> object:
    """A node's whole way from a file to files: nothing but refusals with a reason."""
    from k3os.phases.apply import apply_phase

    root = scratch.directory() / "node"
    shutil.rmtree(root, ignore_errors=True)
    for name, text in NODE.items():
        scratch.file(text.encode(), f"node/{name}")
    scratch.file(data, "node/k3os/system/config.yaml")
    os.makedirs(root / "var/lib/connman")
    found = []
    for phase in ("initrd", "boot"):
        report = apply_phase(phase, mode="disk", root=str(root), cmdline="")
        found += report.lines()
        unexpected = [each for each in report.failed if each.is_bug]
        assert not unexpected, "; ".join(each.reason for each in unexpected)
    return found


NODE = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nrancher:x:1000:1000::/home/rancher:/bin/sh\n",
    "etc/group": "root:x:0:\nrancher:x:1000:\n",
    "etc/shadow": "root:*:19000::::::\nrancher:*:19000:0:99999:7:::\n",
    "proc/sys/kernel/hostname": "(none)\n",
    "proc/meminfo": "MemTotal: 4000000 kB\n",
}


@target("environment-file", words="A= export \" ' \\ $A # PATH=")
def environment_file(data: bytes) -> object:
    """/etc/environment, which somebody else may have written."""
    from k3os.config.k3s_files import variables

    return variables(scratch.text(data))


@target("k3s-config", raises=(UserError,), words="node-label: kubelet-arg+: - token: data-dir:")
def k3s_config(data: bytes) -> object:
    from k3os.config.k3s_files import top_level
    from k3os.k3s.settings import of_files

    return top_level(scratch.text(data)), of_files(scratch.file(data, "k3s.yaml"))
