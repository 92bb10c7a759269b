"""The tests that docs/explanation/security.md names exist, one for each asset."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/explanation/security.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ")]
NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


def test_each_asset_has_a_test_that_is_there() -> None:
    rows = [row for row in ROWS if not row.startswith("| asset |")]
    assert len(rows) > 15
    for row in rows:
        named = NAMED.findall(row)
        assert named, row
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


def test_each_row_says_who_and_what() -> None:
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4, row
        assert all(cells), row


def test_the_readme_leads_there() -> None:
    assert "docs/explanation/security.md" in (ROOT / "README.md").read_text()
