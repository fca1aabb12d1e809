"""Statistics, repetitions and tables of the loader benchmarks, in one place."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

WEBDATASET = "webdataset"
"The row that ratios are taken to."


@dataclass(frozen=True)
class Spread:
    """The median of repeated measurements, and their range."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1], len(ordered))

    def __str__(self) -> str:
        if self.low == self.high:
            return _number(self.median)
        return f"{_number(self.median)} [{_number(self.low)}, {_number(self.high)}]"


Cell = Spread | float | int | str


@dataclass
class Report:
    """One table: what was measured, a row per loader, and who could not take part."""

    title: str
    rows: list[dict[str, Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """The table; an empty cell where a row has no such column."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [f"### {self.title}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        lines += [f"| {' | '.join(_shown(row.get(name, '')) for name in columns)} |" for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in dict.fromkeys(self.notes))])

    def tree(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "title": self.title,
            "rows": [
                {name: asdict(cell) if isinstance(cell, Spread) else cell for name, cell in row.items()}
                for row in self.rows
            ],
            "notes": list(dict.fromkeys(self.notes)),
        }


def interleaved(
    measures: Mapping[str, Callable[[int], float]], repetitions: int, *, warm_up: int = 1
) -> dict[str, list[float]]:
    """Call every measure in turn (A B C A B C ...); each is told the number of the repetition.

    The first `warm_up` repetitions are left out. One that returns NaN could not do it.
    """
    found: dict[str, list[float]] = {name: [] for name in measures}
    for repetition in range(warm_up + repetitions):
        for name, measure in measures.items():
            value = measure(repetition)
            if repetition >= warm_up:
                found[name].append(value)
    return found


def ratios(values: Sequence[float], reference: Sequence[float]) -> Spread:
    """Values / reference, repetition by repetition: what the machine did at the time cancels."""
    return Spread.of(value / base for value, base in zip(values, reference, strict=True))


def _shown(cell: Cell) -> str:
    return _number(cell) if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)


def _number(value: float) -> str:
    """Three significant digits, or all of a large number."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
