"""Every file in broken/ gives exactly the lines in the file next to it."""

import time
from pathlib import Path

import pytest

from k3os.cli.config import main
from k3os.config.check import check_files, check_text
from k3os.config.yamltext import LARGEST

BROKEN = Path(__file__).parent / "broken"
FILES = sorted(BROKEN.glob("*.yaml"))


def test_there_are_at_least_twenty_broken_files() -> None:
    assert len(FILES) >= 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_broken_file_gives_exactly_the_expected_lines(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(BROKEN)
    expected = path.with_suffix(".expected").read_text()
    code = main(["check", path.name])
    assert capsys.readouterr().out == expected
    only_warnings = all(": warning: " in line for line in expected.splitlines())
    assert code == (0 if only_warnings else 1)
    assert expected, "a file here must be broken"


def test_billion_laughs_are_refused_fast() -> None:
    started = time.process_time()
    problems = check_files([str(BROKEN / "billion-laughs.yaml")])
    assert time.process_time() - started < 1
    assert [problem.is_error for problem in problems] == [True]


def test_a_file_of_brackets_is_refused_fast() -> None:
    started = time.process_time()
    _, problems = check_text(b"hostname: " + b"[" * 1_000_000, "deep.yaml")
    assert time.process_time() - started < 1
    assert "levels" in problems[0].message


def test_a_file_that_is_too_large_is_refused_with_its_size() -> None:
    _, problems = check_text(b"#" * (LARGEST + 1), "large.yaml")
    assert str(LARGEST) in problems[0].message


def test_a_missing_file_is_an_error_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "/nonexistent/config.yaml"]) == 1
    assert capsys.readouterr().out == (
        "/nonexistent/config.yaml: cannot be read: No such file or directory\n"
    )


def test_five_thousand_files_are_checked_in_time() -> None:
    entry = b"- {path: /etc/file%d, permissions: '0644', content: 'x%s'}\n"
    text = b"write_files:\n" + b"".join(entry % (n, b"y" * 120) for n in range(5000))
    assert len(text) <= LARGEST
    started = time.process_time()
    values, problems = check_text(text, "many.yaml")
    assert time.process_time() - started < 6  # processor time: others may use the host, too
    assert not problems
    assert isinstance(values["write_files"].data, list)
    assert len(values["write_files"].data) == 5000
