"""The comparison's arithmetic and its words."""

import json

import pytest

from bench.table import Row, Samples, markdown, missed, records


def seconds(*values: float) -> Samples:
    return Samples(values, "s")


def test_a_measurement_shows_its_median_and_its_extremes() -> None:
    assert seconds(9.0, 11.04, 8.0).text() == "9.0 s (8.0–11.0)"


def test_a_single_value_has_no_extremes() -> None:
    assert Samples((25e6,), "MB").text() == "25.0 MB"


def test_an_even_number_of_runs_has_the_mean_of_the_middle_two() -> None:
    assert seconds(1.0, 2.0, 4.0, 100.0).median == 3.0


def test_no_value_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="without a value"):
        Samples((), "s")


def test_units_scale_seconds_and_bytes() -> None:
    assert Samples((0.0123,), "ms").text() == "12 ms"
    assert Samples((float(200 << 20),), "MiB").text() == "200 MiB"


@pytest.mark.parametrize(("ours", "within"), [(4.0, True), (3.9, True), (4.01, False)])
def test_a_ratio_budget_is_kept_up_to_its_limit(ours: float, within: bool) -> None:
    assert Row("login", seconds(ours), seconds(10.0), at_most=0.4).within is within


def test_a_budget_without_a_comparison_is_in_the_unit_of_the_row() -> None:
    assert Row("ISO", Samples((120e6,), "MB"), at_most=120).within is True
    assert Row("ISO", Samples((120.1e6,), "MB"), at_most=120).within is False


def test_a_row_without_a_budget_has_no_verdict() -> None:
    assert Row("k3s", seconds(1.0), seconds(2.0)).within is None


def test_the_table_says_ratio_budget_and_verdict() -> None:
    text = markdown(
        [
            Row("login", seconds(3.0), seconds(10.0), at_most=0.4, aim=0.3),
            Row("memory", seconds(12.0), seconds(10.0), at_most=1.0),
        ]
    )
    login, memory = text.splitlines()[2:]
    assert [cell.strip() for cell in login.split("|")[1:-1]] == [
        *("login", "3.0 s", "Debian: 10.0 s", "0.30 ×", "≤ 0.40 ×, aim 0.30 ×", "within")
    ]
    assert "1.20 ×" in memory
    assert "**MISSED**" in memory


def test_the_columns_of_the_table_line_up() -> None:
    lines = markdown([Row("a", seconds(1.0)), Row("a longer name", seconds(1.0, 2.0))]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_missed_budgets_are_named() -> None:
    rows = [
        Row("kept", seconds(1.0), at_most=1),
        Row("lost", seconds(2.0), at_most=1),
        Row("free", seconds(3.0)),
    ]
    assert missed(rows) == ["lost"]


def test_the_records_keep_every_value_and_survive_json() -> None:
    row = Row("login", seconds(3.0, 4.0), seconds(10.0), at_most=0.4)
    (record,) = json.loads(json.dumps(records([row])))
    assert record["ours"] == [3.0, 4.0]
    assert record["other"] == [10.0]
    assert record["ratio"] == 0.35
    assert record["within"] is True
