"""Rows of the comparison: samples in, ratios and verdicts out, as Markdown and as JSON.

It neither measures nor prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

# unit -> (divisor, decimals); the values themselves are seconds or bytes
UNITS = {
    "s": (1.0, 1),
    "ms": (0.001, 0),
    "MB": (1e6, 1),
    "MiB": (float(1 << 20), 0),
}
HEADER = ("", "k3OS", "compared with", "ratio", "budget", "verdict")


@dataclass(frozen=True)
class Samples:
    """Measured values of one thing in one unit of UNITS; at least one."""

    values: tuple[float, ...]
    unit: str

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a measurement without a value")

    @property
    def median(self) -> float:
        return median(self.values)

    def text(self) -> str:
        """The median, and the range if there are several values: "9.1 s (8.9–9.4)"."""
        divisor, decimals = UNITS[self.unit]
        numbers = [
            f"{value / divisor:.{decimals}f}"
            for value in (self.median, min(self.values), max(self.values))
        ]
        spread = f" ({numbers[1]}–{numbers[2]})" if len(self.values) > 1 else ""
        return f"{numbers[0]} {self.unit}{spread}"


@dataclass(frozen=True)
class Row:
    """One line: ours, what it is compared with (or None), and at most one budget.

    at_most:       the largest allowed ratio (if other is given) or value in `ours.unit`.
    aim:           a ratio to aim for, shown beside the budget.
    """

    name: str
    ours: Samples
    other: Samples | None = None
    other_name: str = "Debian"
    at_most: float | None = None
    aim: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.other is None else self.ours.median / self.other.median

    @property
    def within(self) -> bool | None:
        """Whether the budget is met; None without one."""
        if self.at_most is None:
            return None
        if self.ratio is not None:
            return self.ratio <= self.at_most
        return self.ours.median / UNITS[self.ours.unit][0] <= self.at_most

    def budget_text(self) -> str:
        if self.at_most is None:
            return ""
        if self.ratio is None:
            return f"≤ {self.at_most:g} {self.ours.unit}"
        aim = f", aim {self.aim:.2f} ×" if self.aim is not None else ""
        return f"≤ {self.at_most:.2f} ×{aim}"

    def cells(self) -> tuple[str, ...]:
        other = f"{self.other_name}: {self.other.text()}" if self.other else ""
        ratio = f"{self.ratio:.2f} ×" if self.ratio is not None else ""
        verdict = {None: "", True: "within", False: "**MISSED**"}[self.within]
        return (self.name, self.ours.text(), other, ratio, self.budget_text(), verdict)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table whose columns are also aligned on a terminal."""
    cells = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def missed(rows: Sequence[Row]) -> list[str]:
    """The names of the rows whose budget is exceeded."""
    return [row.name for row in rows if row.within is False]


def records(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The rows as JSON-able records with every single value (seconds, bytes)."""
    return [
        {
            "name": row.name,
            "unit": row.ours.unit,
            "ours": list(row.ours.values),
            "other": list(row.other.values) if row.other else None,
            "other_name": row.other_name if row.other else None,
            "ratio": round(row.ratio, 4) if row.ratio is not None else None,
            "at_most": row.at_most,
            "within": row.within,
        }
        for row in rows
    ]
