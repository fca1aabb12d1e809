"""Facts as aligned lines, rows as aligned columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def print_table(rows: Mapping[str, object]) -> None:
    """One line per fact: its name, and its value."""
    width = max(len(name) for name in rows)
    for name, value in rows.items():
        print(f"{name:<{width}}  {f'{value:,}' if isinstance(value, int) else value}")


def print_columns(names: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """One line per row below a line of names; None is a dash."""
    cells = [[name.upper() for name in names], *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    for line in cells:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
