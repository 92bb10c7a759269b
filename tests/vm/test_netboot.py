"""Network boot as documented: iPXE, no medium, an ISO from a server that disconnects once."""

import re
from pathlib import Path

from k3os.vm.spec import Disk, VMSpec
from tests.unit.local_server import content, cut_off, local_site, sha256
from tests.vm.node import BOOT, HOST

PAGE = Path(__file__).parents[2] / "docs/how-to/network-boot.md"
SECONDS = 300
CONFIG = b"hostname: from-the-network\nk3os: {password: secret}\n"


def ipxe_script(base: str, more: str) -> str:
    """The documented script, with another server and more kernel parameters."""
    script = re.search(r"^#!ipxe\n.*?^boot\n", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]
    assert "set base http://192.0.2.1/k3os\n" in script
    script = script.replace("http://192.0.2.1/k3os", base)
    return re.sub(r"^(kernel .*)$", rf"\1 {more}", script, flags=re.MULTILINE)


def test_a_machine_without_a_medium_installs_itself_from_the_network(boot, images, tmp_path):
    disk = Disk(tmp_path / "disk.img")
    with open(disk.path, "wb") as file:
        file.truncate(2 << 30)
    iso = images.iso.read_bytes()
    with local_site() as site:
        outside = site.url.replace("127.0.0.1", HOST)
        for path in (images.kernel, images.netboot):
            site.page(f"/{path.name}", content(path.read_bytes()))
        site.page("/config.yaml", content(CONFIG))
        site.page("/k3os.iso", cut_off(iso, len(iso) // 2), content(iso))
        url = f"{outside}/k3os.iso#sha256={sha256(iso)}"
        more = f"k3os.install.iso_url={url} k3os.install.power_off"
        (tmp_path / "boot.ipxe").write_text(ipxe_script(outside, more))
        network = f"user,id=net,tftp={tmp_path},bootfile=boot.ipxe"
        # boots from the disk first, which is empty, then from the network
        card = "virtio-net-pci,netdev=net,bootindex=1"
        spec = VMSpec(
            disks=(disk,),
            memory=512,
            cpus=1,
            network=False,
            forwards=(),
            extra=("-netdev", network, "-device", card),
        )
        with boot("netboot", spec) as vm:
            vm.expect("more for a disk labelled K3OS_STATE", 2 * BOOT)
            vm.expect("k3OS: booting install from the initrd", BOOT)
            vm.expect("k3os.iso .* 49 %", SECONDS)
            vm.expect(f"ended after {len(iso) // 2} of {len(iso)} bytes; trying again", SECONDS)
            vm.expect("k3os.iso .* 100 %", SECONDS)
            vm.expect(f"k3os.iso: sha256 {sha256(iso)}, as it should be", SECONDS)
            vm.expect("k3OS: k3OS is installed on /dev/vda", SECONDS)
            vm.wait_for_end(90)
        fetched = [path for path, _ in site.requests if path in ("/config.yaml", "/k3os.iso")]
        assert fetched == ["/config.yaml", "/k3os.iso", "/k3os.iso"]
        assert site.ranges()[-2:] == [None, f"bytes={len(iso) // 2}-"]
        with boot("netboot-installed", spec) as vm:
            vm.expect("k3OS: booting disk from /dev/vda3", 2 * BOOT)
            vm.expect("from-the-network login: ", BOOT)
