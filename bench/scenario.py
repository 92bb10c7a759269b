"""The settings that both systems get, each in its own format.

k3OS: a config.yaml (README.md). The peer: a NoCloud seed (user-data and meta-data of
https://docs.cloudinit.io/en/latest/reference/datasources/nocloud.html).
"""

from __future__ import annotations

import base64

HOSTNAME = "bench-node"
USER = "rancher"
SYSCTL = ("vm.max_map_count", "262144")
FILE = ("/etc/bench.conf", "written by the configuration")
# a well-formed public key without a known private key
SSH_KEY = (
    "ssh-ed25519 "
    + base64.b64encode(
        b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(1, 33)),
    ).decode()
    + " bench"
)

# What the stand-in for k3s, bench/k3s, prints on the console when it is executed, and the file
# that it writes.
K3S_MARKER = r"bench: k3s exec at ([0-9.]+) s"
K3S_TIME = "/run/bench-k3s"
# For both; ours adds the arguments of its menus.
KERNEL_ARGUMENTS = "console=tty0 console=ttyS0,115200 quiet"

# With a real k3s: the same program in both systems waits for /readyz and reports when.
READY_PROGRAM = "/etc/bench-ready.py"
READY_MARKER = r"bench: k3s readyz at ([0-9.]+) s"
READY_MEMINFO = "/run/bench-meminfo"
READY_COMMAND = f"/usr/bin/python3 -SE {READY_PROGRAM}"
READY_TEXT = f"""\
import http.client, os, ssl, time

TLS = "/var/lib/rancher/k3s/server/tls/client-admin"


def is_ready():
    if not os.path.exists(TLS + ".key"):
        return False
    try:
        context = ssl._create_unverified_context()
        context.load_cert_chain(TLS + ".crt", TLS + ".key")
        connection = http.client.HTTPSConnection("127.0.0.1", 6443, timeout=5, context=context)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


while not is_ready():
    time.sleep(0.5)
with open("/proc/uptime") as file:
    uptime = file.read().split()[0]
with open("/proc/meminfo") as file, open("{READY_MEMINFO}", "w") as copy:
    copy.write(file.read())
with open("/dev/ttyS0", "w") as console:
    console.write(f"\\r\\nbench: k3s readyz at {{uptime}} s\\r\\n")
with open("{K3S_TIME}", "w") as file:
    file.write(uptime + "\\n")
"""

CONFIG_YAML = f"""\
hostname: {HOSTNAME}
ssh_authorized_keys:
- {SSH_KEY}
write_files:
- path: {FILE[0]}
  permissions: "0644"
  content: |
    {FILE[1]}
k3os:
  sysctls:
    {SYSCTL[0]}: "{SYSCTL[1]}"
"""

# An installed k3OS has no automatic login; this adds one, as for the peer's console.
AUTOLOGIN = "/etc/systemd/system/k3os-console@ttyS0.service.d/zz-autologin.conf"

_READY_LINES = "".join(f"    {line}\n" if line else "\n" for line in READY_TEXT.splitlines())
# The same plus a login for the bench on an installed disk, and the program that waits for k3s.
READY_CONFIG_YAML = CONFIG_YAML.replace(
    "k3os:\n",
    f"""\
- path: {AUTOLOGIN}
  permissions: "0644"
  content: |
    [Service]
    Environment="K3OS_LOGIN=--autologin {USER}"
- path: {READY_PROGRAM}
  permissions: "0755"
  content: |
{_READY_LINES}run_cmd:
- systemd-run --quiet {READY_COMMAND}
k3os:
""",
)

USER_DATA = f"""\
#cloud-config
hostname: {HOSTNAME}
manage_etc_hosts: true
users:
- name: {USER}
  shell: /bin/bash
  sudo: ALL=(ALL) NOPASSWD:ALL
  ssh_authorized_keys:
  - {SSH_KEY}
write_files:
- path: {FILE[0]}
  permissions: "0644"
  content: |
    {FILE[1]}
bootcmd:
- [sysctl, -w, {SYSCTL[0]}={SYSCTL[1]}]
"""

META_DATA = f"""\
instance-id: bench-1
local-hostname: {HOSTNAME}
"""

# Shell command -> its output if the settings were applied. Run as USER after k3s was started.
EXPECTED = {
    "hostname": HOSTNAME,
    f"cat {FILE[0]}": FILE[1],
    f"cat /proc/sys/{SYSCTL[0].replace('.', '/')}": SYSCTL[1],
    "grep -o '^ssh-ed25519 [^ ]*' ~/.ssh/authorized_keys": SSH_KEY.rsplit(" ", 1)[0],
    "sudo -n id -u": "0",
}
