"""`k3os datasource probe`: what it shows, and what it must not."""

import gzip

import pytest

from k3os.cli.main import main
from k3os.datasource import search
from k3os.datasource.found import Found
from k3os.datasource.platforms import SOURCES
from k3os.datasource.search import Answer

from .conftest import KEY
from .test_userdata import multipart

CONFIG = b"hostname: x\nk3os: {token: the-secret}\nwrite_files: [{path: /a, content: the-secret}]\n"
SCRIPT = b"#!/bin/sh\necho the-secret\n"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Answer]:
    """What each source answers; afterwards its keys are the names that were asked."""
    prepared: dict[str, Answer] = {}

    def play(
        names: list[str], say: object, *, ask_all: bool, by_auto: frozenset[str]
    ) -> list[Answer]:
        assert ask_all
        assert not by_auto
        return [prepared.setdefault(name, Answer(name, None, "no medium")) for name in names]

    monkeypatch.setattr(search, "search", play)
    return prepared


def test_everything_is_shown_but_no_secret(
    answers: dict[str, Answer], capsys: pytest.CaptureFixture[str]
) -> None:
    userdata = gzip.compress(multipart(("text/plain", CONFIG), ("text/x-shellscript", SCRIPT)))
    answers["aws"] = Answer("aws", Found("aws", "node1", [KEY], userdata))
    assert main(["datasource", "probe", "aws", "cdrom"]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[0].startswith("aws (0.0 s): hostname node1, 1 ssh key, ")
    assert "  ssh key: ssh-ed25519 …MjM0NTY3 one@example" in output
    assert "    hostname: x" in output
    assert "  userdata: a script, #!/bin/sh, 26 bytes" in output
    assert "cdrom (0.0 s): not there: no medium" in output
    assert "the-secret" not in output


def test_userdata_that_cannot_be_used_is_said(
    answers: dict[str, Answer], capsys: pytest.CaptureFixture[str]
) -> None:
    answers["aws"] = Answer("aws", Found("aws", userdata=b"\x7fELF"))
    main(["datasource", "probe", "aws"])
    assert "cannot be used: it is neither text nor gzip" in capsys.readouterr().out


def test_without_names_every_source_is_asked_once(answers: dict[str, Answer]) -> None:
    assert main(["datasource", "probe"]) == 1
    assert set(answers) == set(SOURCES) - {"equinix"}
    assert next(iter(answers)) == "aws"


def test_an_unknown_name_is_an_error_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["datasource", "probe", "hetzer"]) == 1
    assert "there is no data source 'hetzer'; did you mean hetzner?" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["prob"], ["probe", "--all"]])
def test_wrong_usage_is_told(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasource", *argv]) == 2
    assert "`k3os datasource --help` explains it" in capsys.readouterr().err
