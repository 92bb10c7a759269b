"""Settings that left the configuration are undone at once, or reported; nothing else is touched."""

import json
from pathlib import Path

import pytest

from k3os.phases import leftovers, ours, write_files
from k3os.phases.phase_report import PhaseReport

from .conftest import Machine

NOTHING = "hostname: node1\n"
MANIFEST = "var/lib/rancher/k3s/server/manifests/mine.yaml"
IMAGE = "run/k3os/rootfs/"
# sysctls that k3OS sets for its swap
SWAP = ("vm/page-cluster", "vm/watermark_boost_factor")


def undone(report: PhaseReport) -> dict[str, tuple[str, str]]:
    return {
        each.what.removeprefix("undo: "): (each.result, each.reason)
        for each in report.results
        if each.what.startswith("undo: ")
    }


def config(*entries: str) -> str:
    return NOTHING + "write_files:\n" + "".join(f"- {entry}\n" for entry in entries)


@pytest.mark.parametrize("path", ["etc/mine.conf", MANIFEST, "home/rancher/x", "opt/a/b", "run/x"])
def test_a_file_goes_when_its_entry_goes(machine: Machine, path: str) -> None:
    machine.apply("runtime", config(f"{{path: /{path}, content: a}}", "{path: /etc/b, content: b}"))
    assert machine.text(path) == "a"
    report = machine.apply("runtime", config("{path: /etc/b, content: b}"))
    assert not (machine.root / path).exists()
    assert machine.text("etc/b") == "b"
    assert undone(report)[f"file /{path}"][0] == "done"
    assert undone(machine.apply("runtime")) == {}


def test_a_manifest_that_leaves_is_kept_aside_since_the_cluster_keeps_its_objects(
    machine: Machine,
) -> None:
    machine.apply("runtime", config(f"{{path: /{MANIFEST}, content: 'kind: Pod'}}"))
    report = machine.apply("runtime", NOTHING)
    copy = "var/lib/rancher/k3os/left/mine.yaml"
    assert f"kubectl delete -f /{copy}" in undone(report)[f"file /{MANIFEST}"][1]
    assert machine.text(copy) == "kind: Pod"
    assert machine.mode(copy) == 0o600


def test_the_images_file_comes_back_where_there_is_one(machine: Machine) -> None:
    machine.put(f"{IMAGE}etc/motd", "welcome\n")
    (machine.root / IMAGE / "etc/localtime").symlink_to("/usr/share/zoneinfo/UTC")
    machine.apply("boot", config("{path: /etc/motd, content: x}", "{path: /etc/localtime}"))
    machine.apply("runtime", NOTHING)
    assert machine.text("etc/motd") == "welcome\n"
    assert (machine.root / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/UTC")
    machine.apply("runtime", config("{path: /etc/motd, content: x}"))
    assert machine.text("etc/motd") == "x"


def test_a_file_that_somebody_changed_since_is_not_touched(machine: Machine) -> None:
    machine.apply("runtime", config("{path: /etc/mine.conf, content: a}"))
    machine.put("etc/mine.conf", "a\nby hand\n")
    report = machine.apply("runtime", NOTHING)
    assert machine.text("etc/mine.conf") == "a\nby hand\n"
    assert undone(report)["file /etc/mine.conf"] == ("later", leftovers.CHANGED)
    machine.put("etc/mine.conf", "a")  # not ours from then on
    assert undone(machine.apply("runtime")) == {}


def test_what_persists_is_undone_when_it_leaves_between_two_boots(machine: Machine) -> None:
    text = config(f"{{path: /{MANIFEST}, content: a}}", "{path: /etc/mine, content: a}")
    machine.apply("runtime", text)
    (machine.root / "run/k3os/ours.json").unlink()  # it was in memory
    (machine.root / "etc/mine").write_text("made by something else in this boot")
    machine.apply("boot", NOTHING)
    assert (machine.root / MANIFEST).exists()  # cloud data may still name it
    report = machine.apply("runtime")
    assert not (machine.root / MANIFEST).exists()
    assert set(undone(report)) == {f"file /{MANIFEST}"}
    assert machine.text("etc/mine") == "made by something else in this boot"


def test_a_power_cut_between_the_file_and_the_end_of_the_phase_loses_no_record(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(write_files, "add_record", cut)  # right after the file is written
        machine.apply("runtime", config(f"{{path: /{MANIFEST}, content: a}}"))
    assert machine.text(MANIFEST) == "a"
    machine.apply("runtime", NOTHING)
    assert not (machine.root / MANIFEST).exists()


def test_what_was_there_after_a_power_cut_before_the_new_content_is_ours_as_well(
    machine: Machine,
) -> None:
    machine.apply("runtime", config(f"{{path: /{MANIFEST}, content: a}}"))
    record = machine.root / ours.KEPT.lstrip("/")
    machine.apply("runtime", config(f"{{path: /{MANIFEST}, content: b}}"))
    assert len(json.loads(record.read_text())[f"file /{MANIFEST}"]["is"]) == 2
    machine.put(MANIFEST, "a")
    machine.apply("runtime", NOTHING)
    assert not (machine.root / MANIFEST).exists()


def test_a_source_with_an_error_undoes_nothing(machine: Machine) -> None:
    machine.apply("runtime", config("{path: /etc/mine, content: a}") + "k3os: {modules: [a]}\n")
    report = machine.apply("runtime", "hostname: [\n")
    assert machine.text("etc/mine") == "a"
    assert undone(report)["file /etc/mine"][0] == "later"
    assert "/k3os/system/config.yaml has no error" in undone(report)["file /etc/mine"][1]
    machine.apply("runtime", NOTHING)
    assert not (machine.root / "etc/mine").exists()


def test_an_entry_that_cannot_be_written_any_more_keeps_what_it_wrote(machine: Machine) -> None:
    machine.apply("runtime", config("{path: /etc/mine, content: a}"))
    report = machine.apply("runtime", config("{path: /etc/mine, content: a, owner: nobody9}"))
    assert machine.text("etc/mine") == "a"
    assert undone(report) == {}
    assert len(report.failed) == 1


def test_an_applier_that_breaks_undoes_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.apply("runtime", config("{path: /etc/mine, content: a}"))

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(write_files, "plan", broken)
    machine.apply("runtime")
    assert machine.text("etc/mine") == "a"


def test_a_kernel_setting_gets_the_value_it_had(machine: Machine) -> None:
    name = "proc/sys/kernel/printk"
    machine.apply("initrd", "k3os: {sysctls: {kernel.printk: 4 4 1 7}}\n")
    machine.put(name, "3\t4\t1\t7\n")  # the image's default, set between the phases
    machine.apply("boot")
    machine.apply("runtime", "k3os: {sysctls: {kernel.printk: 5 4 1 7}}\n")
    assert machine.text("etc/sysctl.d/zz-k3os.conf") == "kernel/printk = 5 4 1 7\n"
    machine.apply("runtime", NOTHING)
    assert machine.text(name) == "3 4 1 7\n"
    assert not (machine.root / "etc/sysctl.d/zz-k3os.conf").exists()


def test_a_kernel_setting_gets_back_what_another_key_had_made_of_it(machine: Machine) -> None:
    name = "proc/sys/vm/swappiness"
    machine.put(name, "60\n")
    machine.put("proc/meminfo", "MemTotal: 1000000 kB\n")
    for part in SWAP:
        machine.put(f"proc/sys/{part}", "1\n")
    text = "k3os: {sysctls: {vm.swappiness: 33}}\n"
    for phase in ("initrd", "boot", "runtime"):
        machine.apply(phase, text)
        assert machine.text(name) == "33\n"
    machine.apply("runtime", NOTHING)
    assert machine.text(name) == "150\n"  # for the swap that k3OS makes


def test_a_kernel_setting_that_somebody_changed_since_stays(machine: Machine) -> None:
    machine.apply("runtime", "k3os: {sysctls: {kernel.printk: 4 4 1 7}}\n")
    machine.put("proc/sys/kernel/printk", "1 1 1 1\n")
    report = machine.apply("runtime", NOTHING)
    assert machine.text("proc/sys/kernel/printk") == "1 1 1 1\n"
    assert undone(report)["kernel /proc/sys/kernel/printk"][0] == "later"


def test_one_of_two_lists_of_servers_goes_and_so_does_the_other(machine: Machine) -> None:
    main, original = "etc/connman/main.conf", "[General]\nFallbackTimeservers=debian\n# x\n"
    machine.put(f"{IMAGE}{main}", original)
    machine.put(main, original)
    machine.apply("boot", "k3os: {dns_nameservers: [8.8.8.8], ntp_servers: [a.ntp]}\n")
    machine.apply("runtime", "k3os: {ntp_servers: [a.ntp]}\n")
    assert machine.text(main) == "[General]\nFallbackTimeservers=a.ntp\n# x\n"
    report = machine.apply("runtime", "k3os: {labels: {a: b}}\n")
    assert machine.text(main) == original
    assert [each.what for each in report.results if each.what.startswith("restart connman")]


def test_a_main_conf_of_somebody_else_keeps_what_they_wrote(machine: Machine) -> None:
    main = "etc/connman/main.conf"
    machine.put(f"{IMAGE}{main}", "[General]\n")
    machine.put(main, "[General]\n")
    machine.apply("runtime", "k3os: {dns_nameservers: [8.8.8.8]}\n")
    machine.put(main, machine.text(main) + "BackgroundScanning=false\n")
    machine.apply("runtime", "k3os: {dns_nameservers: [1.1.1.1]}\n")
    text = "[General]\nFallbackNameservers=1.1.1.1\nBackgroundScanning=false\n"
    assert machine.text(main) == text


def test_a_file_that_k3os_writes_itself_stays_its_own(machine: Machine) -> None:
    machine.apply("runtime", config('{path: /etc/hostname, content: "node1\\n"}'))
    machine.apply("runtime", NOTHING)
    assert machine.text("etc/hostname") == "node1\n"


def test_our_settings_of_k3s_beside_a_users_file_go_with_it(machine: Machine) -> None:
    entry = "{path: /etc/rancher/k3s/config.yaml, content: 'debug: true'}"
    machine.apply("runtime", config(entry))
    beside = machine.root / "etc/rancher/k3s/config.yaml.d/50-k3os.yaml"
    assert beside.exists()
    machine.apply("runtime", NOTHING)
    assert not beside.exists()
    assert "debug" not in machine.text("etc/rancher/k3s/config.yaml")


def test_a_password_that_leaves_leaves_none(machine: Machine) -> None:
    before = machine.text("etc/shadow")
    machine.put(f"{IMAGE}etc/shadow", before)
    machine.apply("boot", "k3os: {password: abcd}\n")
    machine.apply("runtime")
    assert machine.text("etc/shadow") != before
    assert "abcd" not in machine.text("run/k3os/ours.json")
    report = machine.apply("runtime", NOTHING)
    assert machine.text("etc/shadow") == before
    assert undone(report)["password rancher"][0] == "done"


def test_a_password_that_rancher_changed_since_stays(machine: Machine) -> None:
    machine.apply("runtime", "k3os: {password: abcd}\n")
    theirs = machine.text("etc/shadow").replace("$6$", "$6$theirs")
    machine.put("etc/shadow", theirs)
    machine.apply("runtime", NOTHING)
    assert machine.text("etc/shadow") == theirs


def test_a_module_stays_until_the_next_boot_and_that_is_said(machine: Machine) -> None:
    machine.apply("boot", "k3os: {modules: [nbd]}\n")
    assert not (machine.root / ours.HERE.lstrip("/")).exists()  # it is not really loaded
    entry = {"key": "k3os.modules", "from": "x:1:1", "is": [""], "was": None}
    machine.put(ours.HERE.lstrip("/"), json.dumps({"module nbd": entry}))
    report = machine.apply("runtime", NOTHING)
    assert undone(report)["module nbd"] == ("later", leftovers.NEXT_BOOT)


def test_a_dry_run_shows_what_would_be_undone(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    from k3os.cli.config import main

    machine.apply("runtime", config("{path: /etc/mine, content: a}"))
    machine.put("k3os/system/config.yaml", NOTHING)
    arguments = ["--dry-run", "--root", str(machine.root), "--cmdline", ""]
    main([*arguments, "--system", "/k3os/system"])
    assert "write_files: undo: file /etc/mine  (/k3os/system/config.yaml:3:3)" in (
        capsys.readouterr().out
    )
    assert machine.text("etc/mine") == "a"


BROKEN = ("[]", "{", '{"file /etc/x": 1}', '{"file /etc/x": {"is": 1}}')


@pytest.mark.parametrize("text", BROKEN)
def test_a_record_that_somebody_broke_is_none(machine: Machine, text: str) -> None:
    machine.put("run/k3os/ours.json", text)
    machine.put("etc/x", "theirs")
    report = machine.apply("runtime", config("{path: /etc/y, content: a}"))
    assert not report.failed
    assert machine.text("etc/x") == "theirs"


def test_a_node_that_leaves_nothing_to_undo_keeps_no_record(machine: Machine) -> None:
    machine.put("proc/meminfo", "MemTotal: 1000000 kB\n")
    for part in ("vm/swappiness", *SWAP):
        machine.put(f"proc/sys/{part}", "1\n")
    for phase in ("initrd", "boot", "runtime"):
        assert not machine.apply(phase, "k3os: {labels: {a: b}}\n").failed
    assert not list(machine.root.rglob("ours.json"))


def test_a_record_that_cannot_be_written_costs_only_itself(machine: Machine) -> None:
    machine.put("var/lib/rancher/k3os/ours.json/in-the-way", "")
    report = machine.apply("runtime", config(f"{{path: /{MANIFEST}, content: a}}"))
    assert machine.text(MANIFEST) == "a"
    assert {each.what for each in report.failed} == {"remember what the configuration has left"}
