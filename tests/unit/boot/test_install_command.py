"""The way the greeting points to, until there is an installer."""

import pytest

from k3os.cli.main import main


def test_it_says_that_it_cannot_install_and_changes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["install"]) == 1
    assert "cannot install to a disk yet; nothing was changed" in capsys.readouterr().err
