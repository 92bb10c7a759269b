"""Writes a timeline as SVG (https://www.w3.org/TR/SVG11/): a row per step, an axis in seconds.

It generates text without a library, so that the bench needs none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from bench.timeline import Step

COLOURS = {
    "firmware": "#9e9e9e",
    "kernel": "#c62828",
    "init": "#1565c0",
    "systemd": "#6a1b9a",
    "unit": "#2e7d32",
}
ROW = 18
LABELS = 260
CHART = 760
TOP = 56
MARK = "#ef6c00"


def tick_width(seconds: float) -> float:
    """The interval of the axis' ticks: 1, 2 or 5 times a power of ten, for at most 12 ticks."""
    width = 0.001
    while True:
        for factor in (1, 2, 5):
            if seconds / (width * factor) <= 12:
                return width * factor
        width *= 10


def timeline_svg(title: str, steps: Sequence[Step], marks: Mapping[str, float]) -> str:
    """One bar per step, top to bottom in the given order; marks: name -> second, dashed lines."""
    if not steps:
        raise ValueError("a timeline without a step")
    seconds = max([step.end for step in steps] + list(marks.values()))
    scale = CHART / (seconds * 1.04)
    height = TOP + ROW * len(steps) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + CHART + 40}" '
        f'height="{height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="10" y="22" font-size="16">{escape(title)}</text>',
        *_axis(seconds, scale, height),
        *(part for row, step in enumerate(steps) for part in _bar(row, step, scale)),
        *_marks(marks, scale, height),
        *_legend(steps, height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axis(seconds: float, scale: float, height: int) -> list[str]:
    width = tick_width(seconds)
    parts = []
    for number in range(int(seconds / width) + 1):
        x = LABELS + number * width * scale
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{height - 30}" stroke="#dddddd"/>'
            f'<text x="{x:.1f}" y="{TOP - 8}" text-anchor="middle" fill="#666666">'
            f"{number * width:g} s</text>"
        )
    return parts


def _bar(row: int, step: Step, scale: float) -> list[str]:
    y = TOP + row * ROW
    x = LABELS + step.start * scale
    width = max(step.seconds * scale, 1.5)
    colour = COLOURS.get(step.group, "#455a64")
    return [
        f'<text x="{LABELS - 8}" y="{y + 13}" text-anchor="end">{escape(step.name)}</text>',
        f'<rect x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="{ROW - 5}" fill="{colour}">'
        f"<title>{escape(step.name)}: {step.start:.3f}–{step.end:.3f} s</title></rect>",
        f'<text x="{x + width + 4:.1f}" y="{y + 13}" fill="#444444">{step.seconds:.2f}</text>',
    ]


def _marks(marks: Mapping[str, float], scale: float, height: int) -> list[str]:
    parts = []
    for name, second in marks.items():
        x = LABELS + second * scale
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - 30}" stroke="{MARK}" '
            'stroke-dasharray="4 3"/>'
            f'<text x="{x - 4:.1f}" y="{TOP - 22}" text-anchor="end" fill="{MARK}">'
            f"{escape(name)} {second:.1f} s</text>"
        )
    return parts


def _legend(steps: Sequence[Step], height: int) -> list[str]:
    parts = []
    x = 10
    for group in dict.fromkeys(step.group for step in steps):
        colour = COLOURS.get(group, "#455a64")
        parts.append(
            f'<rect x="{x}" y="{height - 20}" width="10" height="10" fill="{colour}"/>'
            f'<text x="{x + 15}" y="{height - 11}">{escape(group)}</text>'
        )
        x += 90
    return parts
