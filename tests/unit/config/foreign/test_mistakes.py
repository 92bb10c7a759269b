"""Every file in mistakes/ gives exactly the lines in the file next to it."""

from pathlib import Path

import pytest

from k3os.cli.config import main

MISTAKES = Path(__file__).parent / "mistakes"
FILES = sorted(MISTAKES.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_mistake_is_said_with_its_cause_and_what_to_write(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(MISTAKES)
    main(["check", path.name])
    said = capsys.readouterr().out
    assert said == path.with_suffix(".expected").read_text()
    assert said, "a file here must be wrong"
