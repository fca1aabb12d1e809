"""Train and validation by row: chunks of rows of one side, where a column decides the split.

Rows of one side lie scattered among those of the other, so a chunk is a window of the file, a side, and which of the
rows of that side in the window it takes. Windows of one side follow each other: every side is read forward once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow
import pyarrow.compute as pc
from numpy.typing import NDArray

from configs.errors import DataError
from data.packing.split import is_held_out
from data.packing.tables.columns import clean, to_text
from data.packing.tables.options import TablePackOptions
from data.packing.tables.records import Place

SIDES = ("train", "validation")


@dataclass(frozen=True)
class Window:
    """Rows [skip, skip + take) among the rows of `side` in `place`; every row of `place` where side is None."""

    place: Place
    side: str | None = None
    skip: int = 0
    take: int = 0


def windows(places: Sequence[Place], counts: Sequence[int], side: str, rows: int) -> Iterator[Window]:
    """Chunks of `rows` rows of one side, the last one ragged.

    Args:
        places: consecutive places of the file.
        counts: rows of this side in each.
        side: the side.
        rows: rows of a chunk.
    """
    first, skip, have = 0, 0, 0
    for number, count in enumerate(counts):
        if not have:
            first, skip = number, 0
        have += count
        while have >= rows:
            yield Window(places[first].to(places[number]), side, skip, rows)
            have -= rows
            first, skip = number, count - have
    if have:
        yield Window(places[first].to(places[-1]), side, skip, have)


def is_validation(rows: pyarrow.Table, options: TablePackOptions, where: str) -> NDArray[np.bool_]:
    """On which side every row falls [R].

    Raises:
        DataError: when `split_column` holds a value that is not listed.
    """
    name = options.split_column or options.group_column
    assert name is not None
    values = to_text(clean(rows[name], options.missing))
    encoded = pc.dictionary_encode(values, null_encoding="encode")
    known: list[str | None] = encoded.dictionary.to_pylist()
    if options.split_column:
        held_out = [_side_of(value, options, f"{where}, column '{name}'") for value in known]
    else:
        held_out = [is_held_out(value or "", options.validation) for value in known]
    of_rows: NDArray[np.bool_] = np.array(held_out, dtype=bool)[encoded.indices.to_numpy(zero_copy_only=False)]
    return of_rows


def _side_of(value: str | None, options: TablePackOptions, where: str) -> bool:
    if value in options.validation_values:
        return True
    if value not in options.train_values:
        raise DataError(
            f"{where}: '{value or ''}' says neither train ({', '.join(options.train_values)}) nor validation "
            f"({', '.join(options.validation_values)}). List it in train_values or validation_values."
        )
    return False
