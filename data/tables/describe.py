"""`table_head`: the first rows of a table as aligned text, for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MAX_CELL = 24


def table_head(columns: Sequence[NDArray[np.generic]] | NDArray[np.generic], names: Sequence[str], rows: int) -> str:
    """Names and the first rows, columns aligned: numbers right, others left; missing cells as `-`.

    Args:
        columns: one array [R] per column (numbers, or texts), or all as one array [R, C].
        names: of the columns.
        rows: how many rows to show; a last line counts the others.
    """
    listed = list(columns.T) if isinstance(columns, np.ndarray) else list(columns)
    if len(listed) != len(names):
        raise ValueError(f"{len(listed)} columns, {len(names)} names")
    total = len(listed[0]) if listed else 0
    shown = [_aligned(name, column[:rows]) for name, column in zip(names, listed, strict=True)]
    lines = ["  ".join(cells).rstrip() for cells in zip(*shown, strict=True)]
    if total > rows:
        lines.append(f"... {total - rows} more rows")
    return "\n".join(lines)


def _aligned(name: str, column: NDArray[np.generic]) -> list[str]:
    cells = [_short(name), *(_short(_text(value)) for value in column)]
    width = max(map(len, cells))
    is_number = column.dtype.kind in "biuf"
    return [cell.rjust(width) if is_number else cell.ljust(width) for cell in cells]


def _text(value: np.generic) -> str:
    if isinstance(value, np.floating):
        return "-" if np.isnan(value) else f"{float(value):.6g}"
    return str(value)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 3] + "..."
