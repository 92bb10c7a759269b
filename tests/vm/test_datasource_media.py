"""Cloud data on media: a CD labelled cidata, a FAT disk labelled config-2, any disk with a
config.yaml. One machine has all of them: it boots with the CD, and the others are read by hand."""

import base64
import dataclasses
import gzip
import json

import pytest

from k3os.system.run import run
from k3os.vm.spec import Disk
from tests.vm.node import BOOT, ask, use_data_sources, wait_until_settled

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIESqSmllcg5QoT7KRLnwkEjK+b6OXXcVEGqm+GR8EOwX {}"
CONFIG = """\
run_cmd: ['ip -4 -br address show dev eth0 > /run/address; ip route > /run/routes']
k3os: {data_sources: [nocloud, configdrive]}
"""
SCRIPT = '#!/bin/sh\necho "$(uname -n) $(cat /etc/from-cd)" >> /run/script-ran\n'
PARTS = f"""\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="part"

--part
Content-Type: text/cloud-config

#cloud-config
write_files:
- path: /etc/from-cd
  content: hello
k3os: {{token: the-token-on-the-cd}}
--part
Content-Type: text/x-shellscript
Content-Transfer-Encoding: base64

{base64.b64encode(SCRIPT.encode()).decode()}
--part--
"""


def files(directory, contents):
    """Write the files of a medium to a directory."""
    for name, data in contents.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return directory


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """cidata ISO, config-2 FAT disk, ext4 disk without a label."""
    scratch = tmp_path_factory.mktemp("media")
    cd = files(
        scratch / "cd",
        {
            "meta-data": f"local-hostname: from-cd\npublic-keys: [{KEY.format('cd')}]\n",
            "user-data": PARTS,
        },
    )
    run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-V",
            "cidata",
            "-J",
            "-r",
            "-o",
            "cidata.iso",
            str(cd),
        ],
        cwd=str(scratch),
    )
    metadata = {"hostname": "from-drive", "public_keys": {"mine": KEY.format("drive")}}
    drive = files(
        scratch / "drive",
        {
            "openstack/latest/meta_data.json": json.dumps(metadata),
            "openstack/latest/user_data": gzip.compress(
                b"write_files:\n- {path: /etc/from-drive, content: hello}\n"
            ),
        },
    )
    run(["truncate", "-s", "4M", "config-2.img"], cwd=str(scratch))
    run(["/usr/sbin/mkfs.vfat", "-n", "config-2", "config-2.img"], cwd=str(scratch))
    run(["mcopy", "-s", "-i", "config-2.img", str(drive / "openstack"), "::"], cwd=str(scratch))
    disk = files(
        scratch / "disk",
        {"config.yaml": "hostname: from-disk\nwrite_files: [{path: /etc/from-disk, content: x}]\n"},
    )
    run(["truncate", "-s", "4M", "disk.img"], cwd=str(scratch))
    run(["/usr/sbin/mkfs.ext4", "-q", "-d", str(disk), "disk.img"], cwd=str(scratch))
    return scratch


@pytest.fixture(scope="module")
def node(boot, images, media):
    spec = images.direct("", CONFIG)
    disks = (
        Disk(media / "cidata.iso", interface="cdrom", readonly=True),
        Disk(media / "config-2.img", readonly=True),
        Disk(media / "disk.img"),
    )
    with boot("datasource-media", dataclasses.replace(spec, disks=(*spec.disks, *disks))) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        yield vm


def status_of(node):
    """The lines of `k3os status` about data sources."""
    return ask(node, "k3os status | grep k3os.data_sources")


def test_a_cd_labelled_cidata_gives_hostname_keys_files_and_a_script(node):
    assert ask(node, "uname -n") == "from-cd"
    assert "AAAAC3" in ask(node, "grep ' cd$' ~/.ssh/authorized_keys")
    assert ask(node, "cat /etc/from-cd") == "hello"
    assert ask(node, "cat /run/script-ran") == "from-cd hello"
    assert ask(node, "cat /run/config/local_hostname") == "from-cd"
    assert ask(node, "sudo -n stat -c %a /run/config/userdata") == "600"
    assert "gives hostname from-cd, 1 ssh key" in status_of(node)
    ask(node, "k3os status")
    assert ask(node, "mount | grep -c k3os/datasource || true") == "0"


def test_k3s_starts_with_the_token_and_the_name_of_the_cd(node):
    ask(node, "until systemctl is-active -q k3s; do sleep 1; done", 60)
    assert "from-cd" in ask(node, "sudo -n cat /run/k3s-stub/config.yaml")
    assert ask(node, "sudo -n cat /run/k3os/k3s.token") == "the-token-on-the-cd"
    code, output = node.command(
        "find / /run /var -xdev -type f -readable -print0 2>/dev/null | "
        "xargs -0 grep -l the-token-on-the-cd -- 2>/dev/null"
    )
    assert output == "", code
    assert "the-token" not in ask(node, "sudo -n k3os config --dump")
    assert ask(node, "sudo -n journalctl -b -q | grep -c the-token-on-the-cd || true") == "0"


def test_connman_keeps_the_name_and_gives_the_network_back_before_commands_run(node):
    assert "10.0.2." in ask(node, "cat /run/address")
    assert "default via 10.0.2.2" in ask(node, "cat /run/routes")
    assert "AllowHostnameUpdates=false" in ask(node, "cat /etc/connman/main.conf")


def test_applying_the_phase_again_does_not_run_the_script_again(node):
    output = ask(node, "sudo -n k3os config", 120)
    assert "phase runtime: 1 changes, 0 failed" in output, "run_cmd runs, nothing else changes"
    assert ask(node, "wc -l < /run/script-ran") == "1"


def apply(node, *names):
    use_data_sources(node, *names)
    return ask(node, "sudo -n k3os config", 120)


def test_a_disk_labelled_config_2_gives_hostname_keys_and_files(node):
    apply(node, "configdrive", "cdrom")
    assert ask(node, "uname -n") == "from-drive"
    assert ask(node, "cat /etc/from-drive") == "hello"
    ask(node, "grep ' drive$' ~/.ssh/authorized_keys")
    assert ask(node, "grep -c ' cd$' ~/.ssh/authorized_keys || true") == "0"
    assert "ask configdrive (gives hostname from-drive, 1 ssh key" in status_of(node)


def test_any_disk_with_a_config_yaml_is_taken_and_media_in_use_are_not(node):
    ask(
        node,
        "for name in sr0 vdb; do sudo -n mkdir -p /run/mine/$name && "
        "sudo -n mount -o ro /dev/$name /run/mine/$name; done",
    )
    apply(node, "cdrom")
    assert ask(node, "uname -n") == "from-disk"
    assert ask(node, "cat /etc/from-disk") == "x"
    assert "ask cdrom (gives" in status_of(node)


def test_without_the_medium_what_it_gave_serves_on_and_status_says_so(node):
    ask(node, "sudo -n mkdir -p /run/mine/disk && sudo -n mount /dev/vdc /run/mine/disk")
    ask(node, "sudo -n rm /etc/from-disk /run/config/userdata")
    ask(node, "sudo -n k3os config", 120)
    assert ask(node, "cat /etc/from-disk") == "x"
    assert ask(node, "sudo -n stat -c %a /run/config/userdata") == "600"
    assert "nothing answers; this is what cdrom gave on 20" in status_of(node)


def test_what_another_machine_left_is_not_used(node):
    ask(node, "sudo -n rm /etc/from-disk")
    about = "/var/lib/rancher/k3os/datasource/source.json"
    ask(node, f'sudo -n sed -i \'s/"machine": "/&x/\' {about}')
    code, output = node.command("sudo -n k3os config", 120)
    assert code == 1
    assert "none of cdrom is there" in output
    assert node.command("test -e /etc/from-disk")[0] == 1
