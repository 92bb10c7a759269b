"""k3os.manifests: files where k3s looks for objects, on servers, as long as they are configured."""

import json
import os
from collections.abc import Iterator
from hashlib import sha256

import pytest

from k3os.phases import fetch, manifests
from tests.unit.local_server import Site, content, local_site, status

from .conftest import Machine

ONE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"
DIRECTORY = "var/lib/rancher/k3s/server/manifests"
LEFT = "var/lib/rancher/k3os/left"


def config(entries: dict[str, str], **others: object) -> str:
    return json.dumps({"k3os": {"manifests": entries, **others}})


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with local_site() as found:
        monkeypatch.setattr(fetch, "PAUSE", 0.01)
        yield found


def test_a_server_has_them_for_root_and_they_go_with_their_names(machine: Machine) -> None:
    assert machine.apply("boot", config({"one": ONE, "two": ONE})).is_fine
    for name in ("one", "two"):
        assert machine.text(f"{DIRECTORY}/{name}.yaml") == ONE
        assert machine.mode(f"{DIRECTORY}/{name}.yaml") == 0o600
    assert machine.mode("var/lib/rancher/k3s/server") == 0o700
    report = machine.apply("runtime", config({"one": ONE}))
    assert report.is_fine
    assert not (machine.root / DIRECTORY / "two.yaml").exists()
    assert machine.text(f"{LEFT}/two.yaml") == ONE
    said = [each.reason for each in report.results if "two.yaml" in each.what]
    assert said == [f"what it made stays in the cluster: `sudo kubectl delete -f /{LEFT}/two.yaml`"]


def test_they_follow_k3s_data(machine: Machine) -> None:
    text = config({"one": ONE}, k3s_args=["server", "--data-dir=/var/data"])
    machine.apply("boot", text)
    assert machine.text("var/data/server/manifests/one.yaml") == ONE
    machine.apply("runtime", config({"two": ONE}, k3s_args=["server", "--data-dir=/var/data"]))
    assert not (machine.root / "var/data/server/manifests/one.yaml").exists()
    assert machine.text(f"{LEFT}/one.yaml") == ONE


def test_an_agent_has_none_and_says_so(machine: Machine) -> None:
    text = config({"one": ONE}, server_url="https://a:6443", token="x")
    report = machine.apply("boot", text)
    assert not (machine.root / DIRECTORY).exists()
    said = [each.reason for each in report.results if each.key == "k3os.manifests"]
    assert said == ["this node is an agent: servers create them"]


def test_a_file_of_write_files_stays_the_users(machine: Machine) -> None:
    own = {"path": f"/{DIRECTORY}/one.yaml", "content": "mine"}
    text = json.dumps({"write_files": [own], "k3os": {"manifests": {"one": ONE}}})
    machine.apply("runtime", text)
    assert machine.text(f"{DIRECTORY}/one.yaml") == "mine"


def test_a_path_is_read_and_one_that_is_wrong_leaves_what_was_there(machine: Machine) -> None:
    machine.put("var/mine.yaml", ONE)
    assert machine.apply("boot", config({"one": "/var/mine.yaml"})).is_fine
    machine.put("var/mine.yaml", "kind: Pod\n")
    report = machine.apply("runtime")
    assert ["/var/mine.yaml: what begins in line 1" in each.reason for each in report.failed]
    assert machine.text(f"{DIRECTORY}/one.yaml") == ONE


def test_a_url_is_fetched_once_with_a_sum_and_kept_when_nobody_answers(
    machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "TRIES", 1)
    newer = ONE.replace("a}", "b}")
    url = site.page("/one.yaml", content(ONE.encode()), content(newer.encode()), status(503))
    first, second = (f"{url}#sha256={sha256(each.encode()).hexdigest()}" for each in (ONE, newer))
    assert machine.apply("boot", config({"one": first})).is_fine
    assert not (machine.root / DIRECTORY / "one.yaml").exists()
    for _ in range(2):
        assert machine.apply("runtime", config({"one": first})).is_fine
        assert machine.text(f"{DIRECTORY}/one.yaml") == ONE
    assert machine.apply("runtime", config({"one": second})).is_fine
    assert machine.text(f"{DIRECTORY}/one.yaml") == newer
    report = machine.apply("runtime", config({"one": first}))
    assert [each.key for each in report.failed] == ["k3os.manifests.one"]
    assert machine.text(f"{DIRECTORY}/one.yaml") == newer, "what was there stays"


def test_what_comes_without_a_sum_is_looked_at_before_k3s_sees_it(
    machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k3os.config.fetched.check", lambda node, text: text)  # the site has no TLS
    monkeypatch.setattr(fetch, "TRIES", 1)
    url = site.page("/one.yaml", content(ONE.encode()), content(b"<html>"), status(503))
    assert machine.apply("runtime", config({"one": url})).is_fine
    report = machine.apply("runtime")
    assert ["is not an object" in each.reason for each in report.failed] == [True]
    report = machine.apply("runtime")
    assert report.is_fine
    assert "what it gave before stays" in str([each.reason for each in report.results])
    assert machine.text(f"{DIRECTORY}/one.yaml") == ONE
    machine.apply("runtime", "hostname: a\n")
    assert not (machine.root / DIRECTORY / "one.yaml").exists()


def test_a_path_that_never_ends_is_no_file(machine: Machine) -> None:
    """It is read in the boot phase, too, which must not hang."""
    os.mkfifo(machine.root / "pipe")
    (machine.root / "null").symlink_to("/pipe")
    places = {"one": "/pipe", "two": "/null", "three": "/proc"}
    report = machine.apply("boot", config({**places, "four": ONE}))
    assert [each.reason.partition(";")[0] for each in report.failed] == [
        "/pipe: is not a file",
        "/null: is not a file",
        "/proc: is not a file",
    ]
    assert machine.text(f"{DIRECTORY}/four.yaml") == ONE


def test_all_of_them_have_one_end_in_time_and_what_is_there_stays(
    machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """k3s waits for them, and each URL without an answer takes a while."""
    monkeypatch.setattr("k3os.config.fetched.check", lambda node, text: text)  # the site has no TLS
    url = site.page("/one.yaml", content(ONE.encode()))
    assert machine.apply("runtime", config({"one": url})).is_fine
    monkeypatch.setattr(manifests, "ALTOGETHER", 0.5)
    report = machine.apply("runtime", config({"one": url, "two": url}))
    assert [(each.key, each.reason[:25]) for each in report.failed] == [
        ("k3os.manifests.two", "there is no time left for")
    ]
    assert "what it gave before stays" in str([each.reason for each in report.results])
    assert machine.text(f"{DIRECTORY}/one.yaml") == ONE
