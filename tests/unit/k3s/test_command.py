"""`k3os k3s` on a node and for maintainers."""

import json
import os

import pytest

from k3os.cli import k3s as command
from k3os.cli.main import main
from k3os.config.check import check_text
from k3os.config.load import Config
from k3os.errors import UserError
from k3os.node import k3s_fetch
from tests.unit.local_server import content, sha256, status

VERSION = "v9.8.7+k3s1"


@pytest.fixture(autouse=True)
def an_amd64_machine(monkeypatch):
    monkeypatch.setattr("k3os.k3s.source.machine_arch", lambda machine: "amd64")


def test_a_node_gets_the_pinned_k3s(releases, tmp_path, capsys):
    k3s_fetch.fetch_on_node("", str(tmp_path / "k3s"), "/no/manifest")
    k3s = tmp_path / "k3s" / "k3s"
    assert k3s.read_bytes() == releases.body
    assert os.access(k3s, os.X_OK)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"k3OS: fetching k3s {VERSION} for amd64, this image has none"
    assert lines[-1].startswith(f"k3OS: k3s {VERSION} is there, verified")


def test_a_second_fetch_needs_no_network(releases, tmp_path):
    for _ in range(2):
        k3s_fetch.fetch_on_node("", str(tmp_path), "/no/manifest")
        releases.site.pages.clear()
    assert (tmp_path / "k3s").read_bytes() == releases.body


def test_the_manifest_of_the_generation_says_which_version(tmp_path, lock):
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"k3s": "v1.1.1+k3s1"}))
    assert k3s_fetch.wanted_version(str(manifest)) == "v1.1.1+k3s1"
    for text in ('{"k3s": null}', '{"k3s": "../../etc"}', "not json"):
        manifest.write_text(text)
        assert k3s_fetch.wanted_version(str(manifest)) == VERSION


def test_a_failed_fetch_leaves_the_k3s_that_was_there(releases, tmp_path):
    k3s_fetch.fetch_on_node("", str(tmp_path), "/no/manifest")
    with pytest.raises(UserError, match="404"):
        k3s_fetch.fetch_on_node("v1.1.1+k3s1", str(tmp_path), "/no/manifest")
    assert (tmp_path / "k3s").read_bytes() == releases.body


def test_a_newer_k3s_takes_the_place_of_the_older(releases, tmp_path):
    (tmp_path / "k3s-v1.1.1+k3s1-amd64").write_text("old")
    (tmp_path / "k3s-v1.1.1+k3s1-amd64.sha256").write_text("old")
    (tmp_path / "k3s").symlink_to("k3s-v1.1.1+k3s1-amd64")
    k3s_fetch.fetch_on_node("", str(tmp_path), "/no/manifest")
    names = sorted(os.listdir(tmp_path))
    assert names == ["k3s", f"k3s-{VERSION}-amd64", f"k3s-{VERSION}-amd64.sha256"]


def test_a_failure_is_one_line_and_exit_code_1(releases, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "DIRECTORY", str(tmp_path))
    monkeypatch.setattr(command, "MANIFEST", "/no/manifest")
    releases.site.pages.clear()
    releases.site.page("*", status(500))
    assert main(["k3s", "fetch"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_progress_on_a_console_is_a_line_now_and_then(capsys):
    progress = k3s_fetch.console_progress(every=0)
    progress(10 << 20, 40 << 20)
    progress(10 << 20, None)
    assert capsys.readouterr().out.splitlines() == [
        "k3OS: fetching k3s: 10 of 40 MiB (25 %)",
        "k3OS: fetching k3s: 10 MiB",
    ]
    k3s_fetch.console_progress(every=100)(1, 2)
    assert capsys.readouterr().out == ""


def test_pin_records_version_and_hashes_of_all_architectures(releases, lock, capsys):
    path = lock("a" * 64)
    assert main(["k3s", "pin", VERSION]) == 0
    record = json.loads(path.read_text())
    assert record["version"] == VERSION
    assert record["sums"][VERSION] == dict.fromkeys(
        ("amd64", "arm64", "arm"), sha256(releases.body)
    )


def test_pin_takes_a_list_of_which_the_first_is_the_version_of_the_image(releases, lock):
    path = lock("c" * 64, "v1.1.1+k3s1")
    other = "v9.9.9+k3s2"
    for arch in ("amd64", "arm64", "arm"):
        source = releases.path(f"sha256sum-{arch}.txt")
        releases.site.pages[source.replace("9.8.7%2Bk3s1", "9.9.9%2Bk3s2")] = releases.site.pages[
            source
        ]
    assert main(["k3s", "pin", other, VERSION]) == 0
    record = json.loads(path.read_text())
    assert record["version"] == other
    assert record["sums"].keys() == {"v1.1.1+k3s1", VERSION, other}, "earlier ones stay known"


def test_pin_writes_nothing_when_a_file_is_missing(releases, lock):
    path = lock("a" * 64)
    before = path.read_text()
    releases.site.page(releases.path("sha256sum-arm.txt"), content(b""))
    assert main(["k3s", "pin", VERSION]) == 1
    assert path.read_text() == before


@pytest.mark.parametrize("action", ["pin", "sums"])
def test_a_sum_over_plain_http_is_never_recorded(mirror, lock, action, capsys):
    path = lock()
    before = path.read_text()
    assert main(["k3s", action, VERSION]) == 1
    assert "https" in capsys.readouterr().err
    assert (path.read_text(), mirror.site.requests) == (before, [])


def test_sums_prints_what_a_configuration_takes(releases, capsys):
    assert main(["k3s", "sums", VERSION]) == 0
    text = capsys.readouterr().out
    values, problems = check_text(text.encode(), "config.yaml")
    assert problems == []
    entries = Config(values).mapping("k3os.k3s_sums")
    assert entries == {VERSION: sha256(releases.body)}, "one sum for all, since all are the same"


@pytest.mark.parametrize("argv", [[], ["explode"], ["fetch", "a", "b"], ["sums"]])
def test_wrong_usage_is_exit_code_2(argv, monkeypatch, capsys):
    monkeypatch.setattr("k3os.system.os_release.os_id", lambda root: "k3os")
    assert main(["k3s", *argv]) == 2
    assert "`k3os k3s --help` explains it" in capsys.readouterr().err


def test_a_version_is_checked_before_anything_is_fetched(monkeypatch, capsys):
    monkeypatch.setattr("k3os.system.os_release.os_id", lambda root: "k3os")
    assert main(["k3s", "fetch", "../x"]) == 1
    assert "write it like v1.33.1+k3s1" in capsys.readouterr().err


def test_a_reason_why_k3s_cannot_be_fetched_is_on_the_consoles_once(
    releases, tmp_path, monkeypatch, capsys
):
    shown = []
    monkeypatch.setattr("k3os.system.console.show", shown.append)
    body, said = dict(releases.site.pages), str(tmp_path / "said")

    def attempt(code):
        releases.site.pages.clear()
        releases.site.page("*", status(code))
        with pytest.raises(UserError):
            k3s_fetch.announced(str(tmp_path / "k3s"), "/no/manifest", said)

    for code in (503, 503, 404, 404):
        attempt(code)
    assert [line.partition(":")[0] for line in shown] == [
        f"fetching k3s {VERSION} for amd64, this image has none",
        *["k3s cannot be fetched, the node goes on trying"] * 2,
    ]
    assert ("503" in shown[1], "404" in shown[2]) == (True, True)
    releases.site.pages.clear()
    releases.site.pages.update(body)
    k3s_fetch.announced(str(tmp_path / "k3s"), "/no/manifest", said)
    assert shown[3].startswith(f"k3s {VERSION} is there, verified")
    assert len(shown) == 4
    assert capsys.readouterr().out.count("fetching k3s") == 5, "the journal has all of it"


def test_a_long_download_says_less_and_less(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr(k3s_fetch.time, "monotonic", lambda: now[0])
    progress = k3s_fetch.console_progress(tell=told.append)
    for now[0] in range(1800):
        progress(now[0] << 20, 1800 << 20)
    assert 5 < len(told) < 10
