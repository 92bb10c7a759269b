"""k3os.disks and k3os.mounts: units in the boot phase, and what becomes of them later."""

import json
from typing import Any

import pytest

from k3os.config.value import Place, Value
from k3os.errors import UserError
from k3os.phases import disks, mount_units
from k3os.phases.actions import Action
from k3os.phases.disks import MountAll, Mounted, UseDisk, mounted
from k3os.phases.empty_disks import Patience
from k3os.phases.mount_units import Mount, device_of, escaped, holds_data, text_of
from k3os.phases.node import Node
from k3os.system.run import CommandError

from .conftest import Machine

UNITS = "run/systemd/system"
UUID = "0b4f1b1e-11c4-4d6f-a2ef-6a2bd3a40a5b"
CONFIG = """\
k3os:
  disks:
  - {device: /dev/vdb, filesystem: xfs, label: data, mount: /var/lib/rancher/k3s, options: noatime}
  - {device: /dev/vdc, filesystem: swap, label: swap1}
  mounts:
  - {what: LABEL=a:b, where: /srv/a}
  - {what: 'nas:/export', where: /srv/nas, options: [ro]}
  manifests:
    mine: "{apiVersion: v1, kind: Namespace, metadata: {name: mine}}"
"""
RECORD = {"data": {"filesystem": "xfs", "uuid": UUID, "device": "x", "made": True}}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "-"),
        ("/srv/data", "srv-data"),
        ("/var/lib/rancher/k3s/", "var-lib-rancher-k3s"),
        ("/srv/a-b", "srv-a\\x2db"),
        ("/.hidden/.x", "\\x2ehidden-.x"),
        ("/srv/ä", "srv-\\xc3\\xa4"),
        ("/dev/disk/by-uuid/1-2", "dev-disk-by\\x2duuid-1\\x2d2"),
        ("/dev/disk/by-label/a\\x28", "dev-disk-by\\x2dlabel-a\\x5cx28"),
    ],
)
def test_names_of_units_are_those_of_systemd_escape(path: str, name: str) -> None:
    assert escaped(path) == name


@pytest.mark.parametrize(
    ("what", "device"),
    [
        ("/dev/vdb1", "/dev/vdb1"),
        ("nas:/x=y", "nas:/x=y"),
        (f"UUID={UUID.upper()}", f"/dev/disk/by-uuid/{UUID}"),
        ("UUID=ABCD-1234", "/dev/disk/by-uuid/ABCD-1234"),  # of a FAT file system
        ("LABEL=data", "/dev/disk/by-label/data"),
        ("LABEL=a(b)", "/dev/disk/by-label/a\\x28b\\x29"),
        ("PARTUUID=AB-01", "/dev/disk/by-partuuid/ab-01"),
        ("PARTLABEL=Übung", "/dev/disk/by-partlabel/Übung"),
    ],
)
def test_devices_have_the_names_that_udev_gives_them(what: str, device: str) -> None:
    assert device_of(what) == device


DATA = "/var/lib/rancher/k3s"


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        (DATA, True),
        (f"{DATA}/server/db", True),
        (f"{DATA}/storage", True),
        ("/data", False),
        ("/var/lib/kubelet", False),
        ("/var/lib/rancher/k3sx", False),
    ],
)
def test_k3s_needs_what_is_at_its_data_above_or_below(where: str, holds: bool) -> None:
    assert holds_data(where, DATA) is holds
    assert holds_data("/data", "/data/k3s")


def mount(**given: Any) -> Mount:
    fields = {"key": "k3os.mounts[0]", "place": Place("c.yaml", 4, 5), "what": "/dev/vdb"}
    return Mount(**{**fields, "where": "/srv/x", **given})


def test_a_unit_never_holds_the_boot_and_is_checked_first() -> None:
    text = text_of(mount(what="/dev/disk/by-label/x", kind="ext4", options=["ro"]))
    checker = "systemd-fsck@dev-disk-by\\x2dlabel-x.service"
    assert text.splitlines() == [
        "# k3os.mounts[0]",
        "[Unit]",
        "Description=/dev/disk/by-label/x at /srv/x",
        "Before=k3s.service",
        "DefaultDependencies=no",
        f"Requires={checker}",
        f"After={checker}",
        "[Mount]",
        "What=/dev/disk/by-label/x",
        "Where=/srv/x",
        "Options=ro,nofail",
        "Type=ext4",
    ]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"kind": "xfs"}, "Options=nofail"),
        ({"what": "nas:/x", "kind": "nfs", "is_network": True}, "Options=_netdev,nofail"),
        ({"options": ["_netdev"], "is_network": True}, "Options=_netdev,nofail"),
        ({"what": "nas:/x", "kind": "nfs", "is_network": True}, "TimeoutSec=20"),
    ],
)
def test_what_is_in_units_of_other_kinds(given: dict[str, Any], line: str) -> None:
    lines = text_of(mount(**given)).splitlines()
    assert line in lines
    assert not any("fsck" in each for each in lines)
    # network mounts must be unmounted before the network goes down
    assert ("DefaultDependencies=no" in lines) is not given.get("is_network", False)


def results(machine: Machine, phase: str, config: str = CONFIG, **more: Any) -> dict[str, str]:
    report = machine.apply(phase, config, **more)
    assert not report.failed
    return {each.what.partition(" (")[0]: each.result for each in report.results}


def test_the_boot_writes_units_of_what_is_known_and_nothing_below_the_places(
    machine: Machine,
) -> None:
    machine.put("var/lib/rancher/k3os/disks.json", json.dumps(RECORD))
    found = results(machine, "boot")
    unit = machine.text(f"{UNITS}/var-lib-rancher-k3s.mount")
    assert f"What=/dev/disk/by-uuid/{UUID}\n" in unit
    assert "Options=noatime,nofail\nType=xfs\n" in unit
    device = escaped(f"/dev/disk/by-uuid/{UUID}")
    drop_in = f"{UNITS}/{device}.device.d/50-k3os.conf"
    assert "JobRunningTimeoutSec=10s" in machine.text(drop_in)
    assert (machine.root / UNITS / "local-fs.target.wants/srv-a.mount").is_symlink()
    assert (machine.root / UNITS / "multi-user.target.wants/srv-nas.mount").is_symlink()
    assert "Type=nfs\n" in machine.text(f"{UNITS}/srv-nas.mount")
    assert machine.text(f"{UNITS}/k3s.service.d/20-mounts.conf").splitlines() == [
        "[Unit]",
        "After=var-lib-rancher-k3s.mount srv-a.mount srv-nas.mount",
        "AssertPathIsMountPoint=/var/lib/rancher/k3s",
    ]
    trim = machine.text(f"{UNITS}/fstrim.service.d/20-mounts.conf").splitlines()
    assert trim[1:] == [
        "ExecStart=-/usr/sbin/fstrim --verbose --quiet-unsupported /var/lib/rancher/k3s"
    ]
    assert found["write /var/lib/rancher/k3s/server/manifests/mine.yaml"] == "later"
    assert not (machine.root / "var/lib/rancher/k3s").exists()


def test_without_a_record_the_boot_does_not_know_the_disk(machine: Machine) -> None:
    results(machine, "boot")
    assert not (machine.root / UNITS / "var-lib-rancher-k3s.mount").exists()
    assert "/var/lib/rancher/k3s" in machine.text(f"{UNITS}/k3s.service.d/20-mounts.conf")
    assert not (machine.root / "var/lib/rancher/k3s").exists()


@pytest.mark.parametrize("record", ['{"data": 7}', "[]", "nonsense", '{"data": {"made": 1}}'])
def test_a_broken_record_is_none(machine: Machine, record: str) -> None:
    machine.put("var/lib/rancher/k3os/disks.json", record)
    results(machine, "boot")
    assert not (machine.root / UNITS / "var-lib-rancher-k3s.mount").exists()


def test_a_machine_that_k3os_is_being_installed_to_formats_and_mounts_nothing(
    machine: Machine,
) -> None:
    for phase in ("boot", "runtime"):
        assert not [each for each in results(machine, phase, mode="install") if "/srv" in each]
    assert not (machine.root / UNITS / "srv-a.mount").exists()


def test_without_the_keys_nothing_is_imported_or_written(machine: Machine) -> None:
    results(machine, "boot", "hostname: x\n")
    assert not (machine.root / UNITS / "k3s.service.d/20-mounts.conf").exists()


def test_the_runtime_phase_looks_for_each_disk_and_each_mount(machine: Machine) -> None:
    machine.put("proc/self/mountinfo", "")
    found = results(machine, "runtime")
    assert {what for what, result in found.items() if result == "later"} >= {
        "use /dev/vdb as xfs 'data'",
        "use /dev/vdc as swap 'swap1'",
        "mount /var/lib/rancher/k3s, /srv/a, /srv/nas",
        "look whether LABEL=a:b is mounted at /srv/a",
        "look whether data is mounted at /var/lib/rancher/k3s",
    }


def test_what_changes_later_counts_at_the_next_boot(machine: Machine) -> None:
    results(machine, "boot")
    results(machine, "runtime")
    before = machine.text(f"{UNITS}/k3s.service.d/20-mounts.conf")
    found = results(machine, "runtime", CONFIG.replace("/srv/a", "/srv/b"))
    assert found["apply k3os.mounts"] == "later"
    assert not any("/srv/b" in each for each in found)
    assert "use /dev/vdb as xfs 'data'" in found, "the other key has not changed"
    assert not (machine.root / UNITS / "srv-b.mount").exists()
    assert machine.text(f"{UNITS}/k3s.service.d/20-mounts.conf") == before
    found = results(machine, "runtime", "hostname: x\n")
    assert found["apply k3os.disks"] == found["apply k3os.mounts"] == "later"
    assert (machine.root / UNITS / "srv-a.mount").exists()


class Real(Node):
    """A node that actions take for the real one."""

    is_real = True  # type: ignore[assignment]


@pytest.fixture
def node(machine: Machine) -> Real:
    machine.put(
        "proc/self/mountinfo", "36 25 254:16 / /srv/x rw - ext4 /dev/vdb rw\n36 25 0:9 / /y rw\n"
    )
    return Real(str(machine.root))


def test_what_is_mounted_is_read_from_the_kernel(node: Real) -> None:
    assert mounted(node) == {"/srv/x": "/dev/vdb"}
    assert Mounted(mount(), False).perform(node) == "unchanged"
    assert MountAll([mount()], []).perform(node) == "unchanged"
    assert node.awaited == []


def test_what_is_missing_is_started_at_once_and_once(
    node: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr("k3os.system.run.run", lambda argv, **_: calls.append(argv) or b"")
    written = Action("x", Place("c"))
    written.result = "done"
    missing = [mount(where="/srv/a"), mount(where="/srv/b"), mount(what="", where="/srv/c")]
    assert MountAll([mount(), *missing], [written]).perform(node) == "done"
    assert calls == [
        ["systemctl", "daemon-reload"],
        ["systemctl", "start", "srv-a.mount", "srv-b.mount"],
    ]


SAID = b"Mounting x\nmount: /srv/a: wrong fs type, bad option on /dev/null.\nFailed to mount x.\n"


@pytest.mark.parametrize(
    ("given", "state", "said", "words"),
    [
        ({"what": "/dev/disk/by-label/no", "named": "LABEL=no"}, "", b"", "LABEL=no is not there"),
        ({"what": "/dev/null"}, "failed", b"", "needs a person: `sudo fsck -y /dev/null`"),
        ({"what": "/dev/null"}, "active", SAID, "mount: /srv/a: wrong fs type, bad option on /d"),
        ({"what": "nas:/x", "kind": "nfs"}, "", b"", "see `systemctl status srv-a.mount`"),
        ({"what": "nas:/x"}, "", b"mount.nfs: Connection refused\n", "mount.nfs: Connection"),
    ],
)
def test_why_something_is_not_mounted(
    node: Real,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    state: str,
    said: bytes,
    words: str,
) -> None:
    def answer(argv: list[str], **_: object) -> bytes:
        return f"ActiveState={state}\n".encode() if argv[0] == "systemctl" else said

    monkeypatch.setattr("k3os.system.run.run", answer)
    with pytest.raises(Exception, match="tries again") as caught:
        Mounted(mount(where="/srv/a", **given), of_k3s=False).perform(node)
    assert words in str(caught.value)
    assert node.awaited == ["/srv/a"]
    with pytest.raises(Exception, match="k3s does not start without it"):
        Mounted(mount(where="/srv/a", **given), of_k3s=True).perform(node)


def test_a_mount_whose_disk_cannot_be_used_is_said_once(node: Real) -> None:
    action = Mounted(mount(what="", where="/srv/a"), of_k3s=False)
    assert action.perform(node) == "later"
    assert action.note == "its disk cannot be used"
    assert node.awaited == ["/srv/a"]
    with pytest.raises(Exception, match="its disk cannot be used; k3s does not start"):
        Mounted(mount(what="", where="/srv/a"), of_k3s=True).perform(node)


@pytest.mark.parametrize(
    ("path", "place"),
    [("/srv/a", "/srv/a"), ("/srv/a/b/c", "/srv/a"), ("/srv/ab", ""), ("/srv", ""), ("", "")],
)
def test_what_is_below_a_place_waits(path: str, place: str) -> None:
    assert disks.place_of(path, ["/srv/x", "/srv/a"]) == place


def test_the_time_that_a_device_is_waited_for_is_short() -> None:
    assert mount_units.DEVICE_SECONDS <= 10


def entry(**fields: str) -> Value:
    place = Place("c.yaml", 3, 5)
    return Value({name: Value(text, place) for name, text in fields.items()}, place)


EXT = entry(device="/dev/vdb", filesystem="ext4", label="data", mount="/srv/a")
SWAP = entry(device="/dev/vdc", filesystem="swap", label="more")


def test_a_disk_that_was_formatted_now_is_mounted_by_its_uuid(
    node: Real, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [True, False]
    monkeypatch.setattr(disks, "settle", lambda *_: (UUID, made.pop(0)))
    wanted = mount(what="", where="/srv/a", kind="ext4")
    action = UseDisk("k3os.disks[0]", EXT, wanted, Patience())
    assert action.perform(node) == "done"
    assert action.note == f"it was empty, and is formatted: UUID {UUID}"
    assert wanted.what == f"/dev/disk/by-uuid/{UUID}"
    assert f"What={wanted.what}\n" in machine.text(f"{UNITS}/srv-a.mount")
    assert action.perform(node) == "unchanged"
    assert action.note == ""


def test_a_disk_that_cannot_be_used_has_no_mount(
    node: Real, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CommandError(["mkfs.xfs"], 1, b"it is too small")

    monkeypatch.setattr(disks, "settle", refuse)
    wanted = mount(what="/dev/disk/by-uuid/old", where="/srv/a")
    with pytest.raises(UserError, match="it is too small"):
        UseDisk("k3os.disks[0]", EXT, wanted, Patience()).perform(node)
    assert wanted.what == ""
    assert not (machine.root / UNITS / "srv-a.mount").exists()


def test_swap_is_switched_on_once_with_its_options(
    node: Real, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr("k3os.system.run.run", lambda argv, **_: calls.append(argv) or b"")
    monkeypatch.setattr(disks, "settle", lambda *_: (UUID, False))
    device = f"/dev/disk/by-uuid/{UUID}"
    action = UseDisk("k3os.disks[1]", SWAP, None, Patience())
    action.options = ["pri=5", "discard"]
    assert action.perform(node) == "done"
    assert calls == [["swapon", "--options", "pri=5,discard", device]]
    record = {"more": {"filesystem": "swap", "uuid": UUID, "device": "x", "made": True}}
    machine.put("var/lib/rancher/k3os/disks.json", json.dumps(record))
    machine.put("proc/swaps", f"Filename Type Size Used Priority\n{device} partition 1 0 5\n")
    assert action.perform(node) == "unchanged"
    assert len(calls) == 1
