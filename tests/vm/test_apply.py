"""The operator's Job on a node, run by hand: a request with a new version and a fragment of the
configuration. The node upgrades, reboots, confirms, and reports to its cluster."""

import json
import tarfile
from pathlib import Path

import pytest

from k3os import names
from k3os.cluster.impact import fragment_hash
from k3os.cluster.node import NodeView
from k3os.cluster.spec import Pool, Strategy
from k3os.cluster.target import Target
from k3os.operator.decisions import NewJob
from k3os.operator.job import job
from k3os.vm.spec import Disk, VMSpec
from tests.api_server import FILES, ApiServer, api_server
from tests.oci_layout import Layout
from tests.vm.installed import make_image
from tests.vm.node import BOOT, HOST, LOGIN, over_ssh, stop
from tests.vm.releases import padded

AGENT = "/var/lib/rancher/k3s/agent"
FRAGMENT = {"k3os": {"sysctls": {"vm.max_map_count": "262144"}, "labels": {"tier": "gold"}}}
VERSION = "0.2.0"
REBOOT = 240


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    with api_server(tmp_path_factory.mktemp("api"), "applied", host=HOST, place=AGENT) as found:
        yield found


@pytest.fixture(scope="module")
def node(boot, images, key, api: ApiServer, releases, tmp_path_factory):
    releases.make(VERSION, rootfs=padded(releases.built / "k3os-rootfs-amd64.squashfs"))
    directory = tmp_path_factory.mktemp("apply")
    (directory / "operator").mkdir()
    Layout(images.iso.with_name("k3os-operator-amd64.tar.zst")).unpack(directory / "operator")
    with tarfile.open(releases.directory / "operator.tar", "w") as archive:
        archive.add(directory / "operator", ".")
    public = key.with_suffix(".pub").read_text().strip()
    files = {f"{AGENT}/{name}": (api.directory / name).read_text() for name in FILES}
    files["/var/lib/rancher/k3os/release-keys"] = public
    written = [
        {"path": name, "content": text, "permissions": "0600"} for name, text in files.items()
    ]
    tree = {"hostname": "applied", "ssh_authorized_keys": [public], "write_files": written}
    config = json.dumps({**tree, "k3os": {"upgrade": {"timeout": 120}}})
    path = make_image(images.iso, directory, config)
    with boot("apply", VMSpec(disks=(Disk(path),))) as vm:
        vm.expect(f"applied {LOGIN}", 2 * BOOT)
        yield vm
        stop(vm, key)


def apply(vm, key: Path, **request: object) -> dict:
    put = f"cat > request.json <<'END'\n{json.dumps(request)}\nEND\n"
    return json.loads(over_ssh(vm, key, f"{put}sudo k3os apply request.json 2>&1 | tail -n 1"))


# what a container runtime does for the Job's container, as far as the payload needs it
CONTAINER = """
set -e
mkdir -p container/request
python3 - <<'END'
import tarfile, urllib.request
with urllib.request.urlopen("{url}/operator.tar") as file:
    tarfile.open(fileobj=file, mode="r|").extractall("container", filter="tar")
END
mv request.json container/request/
chown -R root:root container/request
mount -t proc proc container/proc
mount --rbind /dev container/dev
touch container/dev/termination-log
chroot container {command} /request/request.json >container.log 2>&1
umount container/proc
"""


def apply_in_container(vm, key: Path, url: str, **request: object) -> dict:
    """Run the payload in the operator's image, as the Job does. Returns its last message."""
    order = NewJob("applied", str(request["id"]), reboot=True)
    pool = Pool("pool", "", 1, {}, Target(), Strategy())
    (container,) = job(order, pool, NodeView("applied", {}, True, False))["spec"]["template"][
        "spec"
    ]["containers"]
    script = CONTAINER.format(url=url, command=" ".join(container["command"]))
    put = f"cat > request.json <<'END'\n{json.dumps(request)}\nEND\n"
    over_ssh(vm, key, f"{put}sudo sh <<'SCRIPT'\n{script}\nSCRIPT\n")
    return json.loads(over_ssh(vm, key, "sudo cat container/dev/termination-log"))


def annotations(api: ApiServer) -> dict[str, str]:
    """Annotations and labels in the node's latest report."""
    bodies = [body for path, _, body, _ in api.seen if path.endswith("/applied")]
    found = bodies[-1]["metadata"]["annotations"]
    return {**found, **bodies[-1]["metadata"]["labels"]}


def test_a_part_of_the_configuration_counts_at_once(node, key, api):
    told = apply(node, key, id="config", config=FRAGMENT)
    assert (told["state"], told["rebootNeeded"]) == (names.SUCCEEDED, False)
    assert over_ssh(node, key, "cat /proc/sys/vm/max_map_count") == "262144"
    over_ssh(node, key, "sudo k3os report")
    said = annotations(api)
    assert said[names.CONFIG_HASH] == fragment_hash(FRAGMENT)
    assert said["tier"] == "gold"
    assert json.loads(said[names.LAST_RESULT])["state"] == names.SUCCEEDED


def with_k3s_refusing(**more: object) -> dict:
    return {"k3os": {**FRAGMENT["k3os"], "k3s_args": ["server", "--unknown"], **more}}


def test_arguments_that_k3s_refuses_are_taken_back_at_once(node, key):
    told = apply(node, key, id="refused", config=with_k3s_refusing())
    assert told["state"] == names.FAILED
    assert "k3s.service" in told["message"]
    assert "the former configuration is back" in told["message"]
    assert over_ssh(node, key, "systemctl is-active k3s; kubectl get nodes").startswith("active")
    assert "--unknown" not in over_ssh(node, key, "sudo cat /run/k3s-stub/argv")


def test_a_configuration_with_which_a_boot_is_not_healthy_is_taken_back(node, key, api):
    short = {"upgrade": {"timeout": 90}}
    apply(node, key, id="short", config={"k3os": {**FRAGMENT["k3os"], **short}})
    # shortens the trial of this boot, not the guard's limit, which a slow machine would hit first
    shorter = "echo 15 >/run/k3os/trial"
    bad = {**with_k3s_refusing(**short), "boot_cmd": ["echo with it >/dev/console", shorter]}
    told = apply(node, key, id="bad", config=bad, reboot=True)
    assert told["state"] == names.REBOOTING, told
    node.expect("with it", REBOOT)
    node.expect("k3OS: this configuration is not healthy, the former one comes back", REBOOT)
    node.expect("k3OS: the former configuration is back", REBOOT)
    node.expect(f"applied {LOGIN}", REBOOT)
    over_ssh(node, key, "sudo k3os report")
    outcome = json.loads(annotations(api)[names.LAST_RESULT])
    assert (outcome["request"], outcome["state"]) == ("bad", names.ROLLED_BACK)
    assert "--unknown" not in over_ssh(node, key, "sudo cat /run/k3s-stub/argv")
    told = apply(node, key, id="long", config=FRAGMENT)
    assert told["state"] == names.SUCCEEDED, told


@pytest.mark.long
def test_a_configuration_with_which_no_boot_comes_to_its_end_is_taken_back(node, key, api):
    loop = {**FRAGMENT, "boot_cmd": ["echo round and round >/dev/console; reboot -f"]}
    told = apply(node, key, id="loop", config=loop, reboot=True)
    assert told["state"] == names.REBOOTING, told
    for _ in range(3):
        node.expect("round and round", REBOOT)
    node.expect("k3OS: the former configuration is back: no boot with it came to its end", REBOOT)
    node.expect(f"applied {LOGIN}", REBOOT)
    assert "taken back" in over_ssh(node, key, "sudo k3os status")
    over_ssh(node, key, "sudo k3os report")
    said = annotations(api)
    assert said[names.CONFIG_HASH] == fragment_hash(FRAGMENT)
    outcome = json.loads(said[names.LAST_RESULT])
    assert (outcome["request"], outcome["state"]) == ("loop", names.ROLLED_BACK)


def test_a_new_version_is_not_booted_where_the_node_was_not_drained(node, key, releases):
    wanted = {"version": VERSION, "url": releases.url}
    told = apply(node, key, id="drain", k3os=wanted, config=FRAGMENT)
    assert (told["state"], told["rebootNeeded"]) == ("RebootRequired", True)


def test_a_new_version_boots_is_confirmed_and_reported(node, key, api, releases):
    wanted = {"version": VERSION, "url": releases.url}
    asked = {"k3os": wanted, "config": FRAGMENT, "reboot": True}
    missing = {**wanted, "version": "v9.9.9"}
    told = apply(node, key, id="none", k3os=missing, dryRun=True)
    assert (told["state"], "v9.9.9" in told["message"]) == (names.FAILED, True), told
    assert apply(node, key, id="check", **asked, dryRun=True)["state"] == "Planned"
    told = apply_in_container(node, key, releases.url, id="upgrade", **asked)
    assert told["state"] == names.REBOOTING, told
    node.expect("k3OS: the new version is healthy: it stays", REBOOT)
    # this machine has no watchdog; the kernel's own, which a trial uses, is removed after it
    over_ssh(node, key, "while test -e /dev/watchdog; do sleep 1; done")
    over_ssh(node, key, "sudo k3os report")
    said = annotations(api)
    assert said[names.K3OS] == VERSION
    assert said[names.CONFIG_HASH] == fragment_hash(FRAGMENT)
    outcome = json.loads(said[names.LAST_RESULT])
    assert (outcome["request"], outcome["state"]) == ("upgrade", names.SUCCEEDED)
    statuses = [
        body["status"]["conditions"][0] for path, _, body, _ in api.seen if "/status" in path
    ]
    assert statuses[-1]["status"] == "True"
    again = apply(node, key, id="again", k3os=wanted, config=FRAGMENT, reboot=True)
    assert again["state"] == "NoChange"
