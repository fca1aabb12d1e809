"""Facts as aligned lines."""

from __future__ import annotations

from collections.abc import Mapping


def print_table(rows: Mapping[str, object]) -> None:
    """One line per fact: its name, and its value."""
    width = max(len(name) for name in rows)
    for name, value in rows.items():
        print(f"{name:<{width}}  {f'{value:,}' if isinstance(value, int) else value}")
