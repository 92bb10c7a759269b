"""k3os.images: archives in the directory from which k3s imports them, before it starts."""

import json
import os
from collections.abc import Iterator
from hashlib import sha256

import pytest

from k3os.config.check import check_text
from k3os.phases import images
from tests.unit.local_server import Site, content, local_site, status

from .conftest import Machine

DIRECTORY = "var/lib/rancher/k3s/agent/images"
DATA = b"an archive" * 100
SUM = f"#sha256={sha256(DATA).hexdigest()}"


def config(*places: str) -> str:
    return json.dumps({"k3os": {"images": places}})


def there(machine: Machine) -> dict[str, bytes]:
    """The names without our prefix -> contents."""
    directory = machine.root / DIRECTORY
    found = sorted(directory.iterdir()) if directory.exists() else []
    return {path.name[len("k3os-01234567-") :]: path.read_bytes() for path in found}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with local_site() as found:
        monkeypatch.setattr(images, "PAUSE", 0.01)
        monkeypatch.setattr(images, "TRIES", 2)
        monkeypatch.setattr(images, "RESERVE", 0)
        yield found


def test_an_archive_is_fetched_once_and_goes_with_the_key(machine: Machine, site: Site) -> None:
    url = site.page("/a.tar.zst", content(DATA), status(404)) + SUM
    assert machine.apply("boot", config(url)).is_fine
    assert there(machine) == {}
    assert machine.apply("runtime").is_fine
    assert there(machine) == {"a.tar.zst": DATA}
    assert machine.apply("runtime").is_fine, "it is not asked for again"
    machine.put(f"{DIRECTORY}/of-somebody.tar", "x")
    machine.put(f"{DIRECTORY}/k3os-operator.tar.zst", "x")
    machine.apply("runtime", "hostname: a\n")
    names = sorted(each.name for each in (machine.root / DIRECTORY).iterdir())
    assert "of-somebody.tar" in names
    assert not [name for name in names if name.endswith("-a.tar.zst")]


def test_a_source_with_an_error_proves_nothing(machine: Machine, site: Site) -> None:
    url = site.page("/a.tar", content(DATA)) + SUM
    machine.apply("runtime", config(url))
    machine.apply("runtime", "k3os: {images: [/wrong.zip]}\n")
    assert there(machine) == {"a.tar": DATA}


def test_another_sum_is_another_archive(machine: Machine, site: Site) -> None:
    newer = DATA + b"newer"
    url = site.page("/a.tar", content(DATA), content(newer))
    machine.apply("runtime", config(url + SUM))
    machine.apply("runtime", config(f"{url}#sha256={sha256(newer).hexdigest()}"))
    assert there(machine) == {"a.tar": newer}


@pytest.mark.parametrize(
    ("answer", "words"),
    [(content(b"something else"), "wrong checksum"), (status(404), "404")],
)
def test_what_cannot_be_had_is_named_and_the_others_are_there(
    machine: Machine, site: Site, answer: object, words: str
) -> None:
    wrong = site.page("/a.tar", answer) + SUM
    right = site.page("/b.tar", content(DATA)) + SUM
    report = machine.apply("runtime", config(wrong, right))
    assert [words in each.reason for each in report.failed] == [True]
    assert there(machine) == {"b.tar": DATA}


def test_room_and_time_have_an_end(
    machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = site.page("/a.tar", content(DATA)) + SUM
    monkeypatch.setattr(images, "RESERVE", 1 << 60)
    report = machine.apply("runtime", config(url))
    assert ["MiB are free where k3s keeps images" in each.reason for each in report.failed] == [
        True
    ]
    monkeypatch.setattr(images, "RESERVE", 0)
    monkeypatch.setattr(images, "LARGEST", 100)
    report = machine.apply("runtime")
    assert ["is larger than 100 bytes" in each.reason for each in report.failed] == [True]
    monkeypatch.setattr(images, "DEADLINE", 0.5)
    report = machine.apply("runtime")
    assert ["there is no time left" in each.reason for each in report.failed] == [True]
    assert there(machine) == {}


def test_an_archive_of_the_node_is_linked_when_its_sum_is_right(machine: Machine) -> None:
    machine.put("var/a.tar", DATA.decode())
    assert machine.apply("runtime", config(f"/var/a.tar{SUM}")).is_fine
    (link,) = (machine.root / DIRECTORY).iterdir()
    assert os.readlink(link) == "/var/a.tar"
    report = machine.apply("runtime", config(f"/var/a.tar#sha256={'0' * 64}", "/var/b.tar"))
    assert [each.reason.partition(":")[0] for each in report.failed] == [
        "/var/a.tar",
        "/var/b.tar is not there; k3s starts without it; check the path",
    ]
    assert list((machine.root / DIRECTORY).iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nginx", "`nginx` is neither a URL nor a path"),
        ("https://a/images.zip", "`images.zip` is not an image archive"),
        ("/a/.tar", "`.tar` is not an image archive"),
        ("http://a/images.tar", "comes over plain http without a SHA-256"),
        ("https://a/images.tar#sha256=12", "has no SHA-256 behind its `#`"),
        ("https://images.tar", "`` is not an image archive"),
        (f"https://a/{'i' * 300}.tar", "is longer than 200 bytes"),
        (f"/var/{'ä' * 99}.tar", "is longer than 200 bytes"),
    ],
)
def test_what_k3s_would_not_import_is_left_out(text: str, words: str) -> None:
    values, problems = check_text(config(text, "https://a/b.tar?x=y").encode(), "c.yaml")
    assert [str(item.data) for item in values["k3os.images"].data] == ["https://a/b.tar?x=y"]
    assert [words in str(each) for each in problems] == [True]
    assert str(problems[0]).startswith("c.yaml:1:")
