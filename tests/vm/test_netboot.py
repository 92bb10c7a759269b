"""Network boot: kernel and initrd alone, no medium, an ISO from a server that breaks off once."""

from dataclasses import replace

from k3os.vm.spec import Disk, VMSpec
from tests.unit.local_server import content, cut_off, local_site, sha256
from tests.vm.node import BOOT, HOST

SECONDS = 300
CONFIG = b"hostname: from-the-network\nk3os: {password: secret}\n"


def test_a_machine_without_a_medium_installs_itself_from_the_network(boot, images, tmp_path):
    disk = Disk(tmp_path / "disk.img")
    disk.path.touch()
    with open(disk.path, "r+b") as file:
        file.truncate(2 << 30)
    iso = images.iso.read_bytes()
    with local_site() as site:
        outside = site.url.replace("127.0.0.1", HOST)
        site.page("/config.yaml", content(CONFIG))
        site.page("/k3os.iso", cut_off(iso, len(iso) // 2), content(iso))
        append = (
            "k3os.mode=install k3os.install.silent k3os.install.power_off "
            f"k3os.install.device=/dev/vda k3os.install.config_url={outside}/config.yaml "
            f"k3os.install.iso_url={outside}/k3os.iso#sha256={sha256(iso)}"
        )
        spec = images.direct(append, medium=False)
        spec = replace(spec, initrd=images.netboot, disks=(disk,), memory=512, cpus=1)
        with boot("netboot", spec) as vm:
            vm.expect("k3OS: booting install from the initrd", BOOT)
            vm.expect("k3os.iso .* 49 %", SECONDS)
            vm.expect(f"ended after {len(iso) // 2} of {len(iso)} bytes; trying again", SECONDS)
            vm.expect("k3os.iso .* 100 %", SECONDS)
            vm.expect(f"k3os.iso: sha256 {sha256(iso)}, as it should be", SECONDS)
            vm.expect("k3OS: k3OS is installed on /dev/vda", SECONDS)
            vm.wait_for_end(90)
        assert [path for path, _ in site.requests] == ["/config.yaml", "/k3os.iso", "/k3os.iso"]
        assert site.ranges()[1:] == [None, f"bytes={len(iso) // 2}-"]
    with boot("netboot-installed", VMSpec(disks=(disk,), cpus=1)) as vm:
        vm.expect("k3OS: booting disk from /dev/vda3", 2 * BOOT)
        vm.expect("from-the-network login: ", BOOT)
