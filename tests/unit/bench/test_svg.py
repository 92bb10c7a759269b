"""The timeline drawing is well-formed and to scale."""

from xml.etree import ElementTree

import pytest

from bench.svg import CHART, LABELS, tick_width, timeline_svg
from bench.timeline import Step

SVG = "{http://www.w3.org/2000/svg}"
STEPS = [Step("kernel", "kernel <&>", 0.0, 4.0), Step("unit", "ssh.socket", 4.0, 10.0)]


def bars(text: str) -> list[dict[str, float]]:
    found = []
    for element in ElementTree.fromstring(text).iter(f"{SVG}rect"):
        if element.find(f"{SVG}title") is not None:
            found.append({name: float(element.attrib[name]) for name in ("x", "y", "width")})
    return found


def test_the_drawing_is_well_formed_whatever_a_step_is_called() -> None:
    texts = [
        element.text
        for element in ElementTree.fromstring(timeline_svg("a & b", STEPS, {})).iter(f"{SVG}text")
    ]
    assert "kernel <&>" in texts
    assert "a & b" in texts


def test_a_bar_is_as_long_as_its_step_and_begins_where_the_last_ended() -> None:
    first, second = bars(timeline_svg("boot", STEPS, {}))
    assert first["x"] == LABELS
    assert second["width"] / first["width"] == pytest.approx(1.5, abs=0.01)
    assert second["x"] == pytest.approx(first["x"] + first["width"], abs=0.2)
    assert second["y"] > first["y"]


def test_everything_is_inside_the_chart_also_a_mark_after_the_last_step() -> None:
    for bar in bars(timeline_svg("boot", STEPS, {"login": 20.0})):
        assert bar["x"] + bar["width"] <= LABELS + CHART


def test_marks_are_named_with_their_second() -> None:
    assert "login 9.5 s" in timeline_svg("boot", STEPS, {"login": 9.5})


def test_a_timeline_needs_a_step() -> None:
    with pytest.raises(ValueError, match="without a step"):
        timeline_svg("boot", [], {})


@pytest.mark.parametrize(
    ("seconds", "width"), [(10.0, 1.0), (12.5, 2.0), (59.0, 5.0), (0.4, 0.05), (121.0, 20.0)]
)
def test_ticks_are_round_numbers(seconds: float, width: float) -> None:
    assert tick_width(seconds) == pytest.approx(width)
