"""The runtime phase with data sources: what is asked, kept, merged and reported."""

import json
from pathlib import Path

import pytest

from k3os.cli import config as config_command
from k3os.datasource import runtime, store
from k3os.datasource.found import Found
from k3os.datasource.userdata import Part
from k3os.phases.apply import apply_phase
from k3os.phases.node import Node

from .conftest import KEY, OTHER_KEY, CloudMachine, cloud_results

USERDATA = (
    b"#cloud-config\nwrite_files:\n- {path: /etc/x, content: hello}\nk3os: {token: a secret}\n"
)
FOUND = "var/lib/rancher/k3os/datasource"


@pytest.fixture
def told(cloud: CloudMachine) -> CloudMachine:
    cloud.answers["nocloud"] = Found("nocloud", "cloudy", [KEY], USERDATA)
    return cloud


def test_hostname_keys_and_userdata_reach_the_node_and_run_config(told: CloudMachine) -> None:
    report = told.boot()
    assert report.is_fine, report.lines()
    assert told.text("etc/hostname") == "cloudy\n"
    assert KEY in told.text("home/rancher/.ssh/authorized_keys")
    assert told.text("etc/x") == "hello"
    assert told.text("run/config/local_hostname") == "cloudy"
    assert told.text("run/config/ssh/authorized_keys") == f"{KEY}\n"
    assert told.text("run/config/userdata").encode() == USERDATA


def test_userdata_is_readable_by_root_only_wherever_it_is(told: CloudMachine) -> None:
    told.boot()
    assert told.mode(FOUND) == 0o700
    for path in told.root.rglob("*"):
        if path.is_file() and b"a secret" in path.read_bytes():
            assert path.stat().st_mode & 0o077 == 0, path
    assert "a secret" not in told.text("run/k3os/status.json")
    assert "a secret" not in "".join(told.said)


def test_asking_twice_changes_nothing(told: CloudMachine) -> None:
    told.boot()
    second = told.boot()
    assert {result.result for result in second.results} == {"unchanged"}


def test_the_report_names_the_source_and_what_it_gave(told: CloudMachine) -> None:
    report = told.boot()
    result = report.results[0]
    assert result.key == "k3os.data_sources"
    assert result.what == "ask nocloud"
    assert result.reason == "gives hostname cloudy, 1 ssh key, 84 bytes of userdata, 0.0 s"
    assert ("use what nocloud, cdrom gives", "done") not in cloud_results(report)
    assert cloud_results(report)[-1] == ("use what nocloud gives", "done")
    actions = json.loads(told.text("run/k3os/status.json"))["phases"]["runtime"]["actions"]
    assert actions[0]["reason"] == result.reason


def test_local_files_are_stronger_than_userdata_and_userdata_than_metadata(
    told: CloudMachine,
) -> None:
    told.answers["nocloud"] = Found("nocloud", "meta", [], b"hostname: user\nrun_cmd: [a]\n")
    told.boot()
    assert told.text("etc/hostname") == "user\n"
    told.put("var/lib/rancher/k3os/config.d/a.yaml", "hostname: local\n")
    told.boot()
    assert told.text("etc/hostname") == "local\n"


def test_the_initrd_and_boot_phases_do_not_read_cloud_data(told: CloudMachine) -> None:
    told.boot()
    (told.root / "etc/x").unlink()
    for phase in ("initrd", "boot"):
        told.apply(phase)
        assert not told.exists("etc/x")


def test_ready_cmd_of_the_userdata_is_there_when_k3s_is_ready(told: CloudMachine) -> None:
    told.answers["nocloud"] = Found("nocloud", userdata=b"ready_cmd: [echo]\n")
    told.boot()
    assert [(each.key, each.what) for each in told.apply("ready").results] == [
        ("ready_cmd", "run ready_cmd[0]: echo")
    ]


def test_a_node_without_data_sources_asks_nobody_and_imports_nothing(
    told: CloudMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.boot()
    (told.root / "etc/x").unlink()
    told.asked = []
    monkeypatch.setattr(runtime, "collect", None)
    report = told.boot("hostname: alone\n")
    assert told.asked == []
    assert cloud_results(report) == []
    assert not told.exists("etc/x"), "what was found once is not used without data_sources"


def test_keys_and_hostname_of_a_source_without_userdata_count_beside_anothers_userdata(
    cloud: CloudMachine,
) -> None:
    cloud.answers["nocloud"] = Found("nocloud", "first", [KEY])
    cloud.answers["cdrom"] = Found("cdrom", "second", [OTHER_KEY], USERDATA)
    cloud.boot()
    assert cloud.text("etc/hostname") == "first\n"
    assert cloud.text("run/config/ssh/authorized_keys") == f"{KEY}\n{OTHER_KEY}\n"
    assert cloud.text("etc/x") == "hello"


def test_nothing_found_is_a_failure_that_says_why_and_the_rest_is_applied(
    cloud: CloudMachine,
) -> None:
    report = cloud.boot("hostname: alone\nk3os: {data_sources: [cdrom]}\n")
    assert cloud_results(report) == [("ask cdrom", "unchanged"), ("find cloud data", "failed")]
    assert report.results[0].reason == "not there: no medium, 0.0 s"
    assert cloud.text("etc/hostname") == "alone\n"
    assert cloud.said == ["no cloud data: none of cdrom is there"]


def test_with_auto_nothing_found_is_nothing_wrong(cloud: CloudMachine) -> None:
    report = cloud.boot("k3os: {data_sources: auto}\n")
    assert cloud.asked == ["nocloud", "configdrive"]
    assert report.is_fine


def test_when_nothing_answers_the_last_result_is_used_and_says_so(told: CloudMachine) -> None:
    told.boot()
    (told.root / "etc/x").unlink()
    (told.root / "run/config/userdata").unlink()
    told.answers.clear()
    report = told.boot()
    assert report.is_fine
    assert told.text("etc/x") == "hello"
    assert told.text("etc/hostname") == "cloudy\n"
    assert told.text("run/config/userdata").encode() == USERDATA
    assert cloud_results(report)[-1] == ("use what nocloud gave before", "unchanged")
    assert "nothing answers; this is what nocloud gave on 20" in told.said[-1]


@pytest.mark.parametrize("change", ["another machine", "another source"])
def test_the_last_result_is_not_used_on(told: CloudMachine, change: str) -> None:
    told.boot()
    (told.root / "etc/x").unlink()
    told.answers.clear()
    if change == "another machine":
        told.put("sys/class/dmi/id/product_uuid", "uuid-2\n")
        told.boot()
    else:
        told.boot("k3os: {data_sources: [configdrive]}\n")
    assert not told.exists("etc/x")
    assert not told.exists(FOUND)
    assert not told.exists("run/config/userdata")


def test_a_damaged_earlier_result_is_as_good_as_none(told: CloudMachine) -> None:
    told.boot()
    told.put(f"{FOUND}/source.json", "{half")
    told.answers.clear()
    report = told.boot()
    assert cloud_results(report)[-1] == ("find cloud data", "failed")


def test_userdata_that_is_rubbish_is_an_error_and_the_metadata_is_used(
    told: CloudMachine,
) -> None:
    told.answers["nocloud"] = Found("nocloud", "cloudy", [KEY], b"\x7fELF\x02\x01")
    report = told.boot()
    assert [result.reason for result in report.failed] == [
        "is neither text nor gzip; it begins with 7f 45 4c 46; give a config.yaml, a script that "
        "begins with #!, or gzip or base64 of one"
    ]
    assert told.text("etc/hostname") == "cloudy\n"


def test_userdata_that_cannot_be_had_is_reported_and_the_last_one_is_used(
    told: CloudMachine,
) -> None:
    told.boot()
    told.answers["nocloud"] = Found("nocloud", "renamed", [KEY], problems=["the userdata is late"])
    report = told.boot()
    assert [result.reason for result in report.failed] == ["the userdata is late"]
    assert told.text("etc/hostname") == "renamed\n"
    assert told.text("run/config/userdata").encode() == USERDATA
    assert ("use the userdata that nocloud gave before", "unchanged") in cloud_results(report)
    told.answers["nocloud"] = Found("nocloud", "renamed", [KEY])
    told.boot()
    assert not told.exists("run/config/userdata"), "nothing is wrong: it was taken away"


def test_an_error_in_the_userdata_is_named_with_its_line(told: CloudMachine) -> None:
    told.answers["nocloud"] = Found("nocloud", userdata=b"#cloud-config\nhostname: a_b\n")
    report = told.boot()
    assert str(report.problems[0]).startswith(f"/{FOUND}/userdata/01.yaml:2:11: hostname: ")


def test_a_script_is_a_run_cmd_that_runs_once_in_a_boot(told: CloudMachine) -> None:
    told.answers["nocloud"] = Found("nocloud", userdata=b"#!/bin/sh\ntouch /x\n")
    report = told.boot()
    result = report.results[-1]
    assert result.key == "run_cmd"
    assert result.what.startswith(f"run run_cmd[0]: /{FOUND}/scripts/01-")
    name = result.what.rpartition("/")[2]
    assert told.mode(f"{FOUND}/scripts/{name}") == 0o700
    assert result.result == "later"  # nothing runs on a directory
    told.put(f"run/k3os/ran/{name}", "")
    assert told.boot().results[-1].result == "unchanged"


def test_a_bug_in_the_search_does_not_take_the_phase_with_it(cloud: CloudMachine) -> None:
    def broken(config: object, node: object) -> list[object]:
        raise RuntimeError("a bug")

    cloud.put("k3os/system/config.yaml", "hostname: alone\nk3os: {data_sources: [cdrom]}\n")
    report = apply_phase(
        "runtime", mode="live", root=str(cloud.root), cmdline="", data_sources=broken
    )
    assert report.failed[0].reason.startswith("RuntimeError in k3os/phases/apply.py:")
    assert cloud.text("etc/hostname") == "alone\n"


def test_a_dry_run_names_the_sources_and_shows_what_they_gave_last(
    told: CloudMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    told.boot()
    (told.root / "etc/x").unlink()
    config_command.main(["--dry-run", "--root", str(told.root), "--cmdline", ""])
    output = capsys.readouterr().out
    assert output.startswith("k3os.data_sources: ask nocloud, cdrom, then")
    assert "write /etc/x (5 bytes" in output
    assert not told.exists("etc/x")


def test_a_directory_asks_nobody(cloud: CloudMachine, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.put("k3os/system/config.yaml", "k3os: {data_sources: [cdrom]}\n")
    config_command.main(["--root", str(cloud.root), "--system", "/k3os/system", "--cmdline", ""])
    actions = json.loads(cloud.text("run/k3os/status.json"))["phases"]["runtime"]["actions"]
    assert (actions[0]["result"], actions[0]["reason"]) == ("later", "not on this machine")


def test_what_many_parts_give_reaches_the_disk_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sync call per file took a minute for 20,000 of them."""
    done: list[str] = []
    monkeypatch.setattr("os.fsync", lambda _: done.append("fsync"))
    monkeypatch.setattr("os.sync", lambda: done.append("sync"))
    parts = [Part(f"hostname: a{number}\n".encode()) for number in range(50)]
    assert store.keep(Node(str(tmp_path)), Found("test", userdata=b"x"), parts)
    assert done == ["sync"]


AUTO = "k3os: {data_sources: auto}\n"
MEDIA = ("nocloud", "configdrive")


def medium(source: str, instance: str, text: str) -> Found:
    return Found(source, "cloudy", [KEY], text.encode(), instance=instance)


@pytest.mark.parametrize("source", MEDIA)
@pytest.mark.parametrize("instance", ["iid-1", ""])
def test_auto_reads_a_medium_once_for_each_machine(
    cloud: CloudMachine, source: str, instance: str
) -> None:
    cloud.answers[source] = medium(source, instance, "hostname: first\n")
    cloud.boot(AUTO)
    assert cloud.text("etc/hostname") == "first\n"
    cloud.answers[source] = medium(source, instance, "hostname: second\n")
    report = cloud.boot(AUTO)
    assert report.is_fine
    assert cloud.text("etc/hostname") == "first\n"
    assert cloud.text("run/config/userdata") == "hostname: first\n"
    assert f"cloud data from {source} has changed and is not read again" in "".join(cloud.said)
    cloud.answers[source] = medium(source, "iid-2", "hostname: second\n")
    cloud.boot(AUTO)
    assert cloud.text("etc/hostname") == "second\n"


def test_a_medium_that_did_not_change_is_nothing_to_speak_of(cloud: CloudMachine) -> None:
    cloud.answers["nocloud"] = medium("nocloud", "iid-1", "hostname: first\n")
    cloud.boot(AUTO)
    said = len(cloud.said)
    assert {each.result for each in cloud.boot(AUTO).results} == {"unchanged"}
    assert "read again" not in "".join(cloud.said[said:])


def test_a_medium_that_comes_back_is_the_same_one(cloud: CloudMachine) -> None:
    """Even if another source answered in between."""
    cloud.answers["nocloud"] = medium("nocloud", "iid-1", "hostname: first\n")
    cloud.boot(AUTO)
    cloud.answers = {"configdrive": Found("configdrive", "drive")}
    cloud.boot(AUTO)
    cloud.answers = {"nocloud": medium("nocloud", "iid-1", "hostname: second\n")}
    cloud.boot(AUTO)
    assert cloud.text("etc/hostname") == "first\n"


def test_another_machine_with_the_same_disk_reads_its_own_medium(cloud: CloudMachine) -> None:
    cloud.answers["nocloud"] = medium("nocloud", "iid-1", "hostname: first\n")
    cloud.boot(AUTO)
    cloud.put("sys/class/dmi/id/product_uuid", "uuid-2\n")
    cloud.answers["nocloud"] = medium("nocloud", "iid-1", "hostname: second\n")
    cloud.boot(AUTO)
    assert cloud.text("etc/hostname") == "second\n"


@pytest.mark.parametrize("names", ["nocloud", "[auto, nocloud]"])
def test_who_names_the_source_reads_its_medium_at_every_boot(
    cloud: CloudMachine, names: str
) -> None:
    config = f"k3os: {{data_sources: {names}}}\n"
    for name in ("first", "second"):
        cloud.answers["nocloud"] = medium("nocloud", "iid-1", f"hostname: {name}\n")
        cloud.boot(config)
        assert cloud.text("etc/hostname") == f"{name}\n"


def test_a_medium_that_could_not_be_read_whole_is_read_again(cloud: CloudMachine) -> None:
    broken = medium("nocloud", "iid-1", "")
    broken.problems = ["user-data has 2000000 bytes"]
    cloud.answers["nocloud"] = broken
    cloud.boot(AUTO)
    cloud.answers["nocloud"] = medium("nocloud", "iid-1", "hostname: better\n")
    cloud.boot(AUTO)
    assert cloud.text("etc/hostname") == "better\n"


def test_what_media_gave_is_for_root_alone_and_a_damaged_note_is_read_anew(
    cloud: CloudMachine,
) -> None:
    cloud.answers["nocloud"] = medium("nocloud", "iid-1", "k3os: {token: a secret}\n")
    cloud.boot(AUTO)
    assert cloud.mode(f"{FOUND}/once.json") == 0o600
    for damage in ("{half", "[]", '{"nocloud": 5}'):
        cloud.put(f"{FOUND}/once.json", damage)
        assert cloud.boot(AUTO).is_fine
