"""docs/reference/grafana-k3os.json matches the operator's metrics."""

import itertools
import json
import re
from pathlib import Path

import pytest

from k3os.operator import metrics
from k3os.operator.metrics import NAMES, OF_THE_PROCESS

DASHBOARD = json.loads(
    (Path(__file__).resolve().parents[3] / "docs/reference/grafana-k3os.json").read_text()
)
PANELS = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
HISTOGRAM = re.compile(r"(_seconds)_(bucket|sum|count)$")


def queried():
    texts = [*EXPRESSIONS, *(each.get("definition", "") for each in variables())]
    words = {word for text in texts for word in re.findall(r"\b(?:k3os|process)_\w+", text)}
    return {HISTOGRAM.sub(r"\1", word) for word in words}


def variables():
    return DASHBOARD["templating"]["list"]


def test_each_metric_that_is_queried_exists_and_each_that_exists_is_shown():
    assert queried() == {*NAMES, *OF_THE_PROCESS}


def test_each_metric_with_a_name_is_registered_and_the_other_way_round():
    assert {each.removesuffix("_total") for each in NAMES} == metrics.registered()


def test_every_panel_asks_the_data_source_that_was_chosen():
    assert variables()[0]["type"] == "datasource"
    chosen = {"type": "prometheus", "uid": f"${{{variables()[0]['name']}}}"}
    for panel in PANELS:
        for asks in [panel, *panel["targets"]] if panel["type"] != "row" else []:
            assert asks["datasource"] == chosen


def test_every_panel_says_what_it_shows():
    for panel in PANELS:
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"]


def test_no_two_panels_overlap_and_none_leaves_the_page():
    places = [panel["gridPos"] for panel in PANELS]
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    assert all(place["x"] + place["w"] <= 24 for place in places)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_brackets_of_an_expression_are_in_pairs(expression):
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing)


def test_grafana_knows_the_schema():
    assert DASHBOARD["schemaVersion"] >= 38
    assert DASHBOARD["id"] is None
