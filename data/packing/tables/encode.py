"""Rows of a file -> the two arrays of a packed chunk, as a schema says."""

from __future__ import annotations

import numpy as np
import pyarrow
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.packing.tables.columns import clean, part_of, to_float, to_seconds, to_text
from data.sample import SampleError
from data.tables.schema import Column, TableSchema


def encode_rows(
    table: pyarrow.Table, schema: TableSchema, missing: list[str], where: str
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The numeric columns [R, Cn] (NaN is missing) and the categorical ones [R, Cc] (-1 is missing).

    Raises:
        SampleError: when a value does not fit its column: the file is not the one the schema was made from.
    """
    cells = {name: clean(table[name], missing) for name in table.column_names}
    numeric_RC = np.empty((table.num_rows, len(schema.numeric)), dtype=np.float32)
    for place, column in enumerate(schema.numeric):
        numeric_RC[:, place] = _numbers(cells[column.source or column.name], column, f"{where}, '{column.name}'")
    categorical_RC = np.empty((table.num_rows, len(schema.categorical)), dtype=np.int32)
    for place, column in enumerate(schema.categorical):
        categorical_RC[:, place] = _codes(cells[column.name], column, f"{where}, '{column.name}'")
    return numeric_RC, categorical_RC


def _numbers(cells: pyarrow.Array, column: Column, where: str) -> NDArray[np.float64]:
    if column.part is not None:
        return part_of(to_seconds(cells, where), column.part)
    if column.type == "datetime":
        return to_seconds(cells, where) - (column.origin or 0.0)
    return to_float(cells, where)


def _codes(cells: pyarrow.Array, column: Column, where: str) -> NDArray[np.int32]:
    names = to_text(cells)
    found = pc.index_in(names, pyarrow.array(column.categories, pyarrow.string()), skip_nulls=True)
    codes: NDArray[np.int32] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int32)
    unlisted = (codes == -1) & pc.is_valid(names).to_numpy(zero_copy_only=False)
    if unlisted.any() and not column.other:
        value = names[int(unlisted.argmax())].as_py()
        raise SampleError(f"{where}: '{value}' was not there in the first pass: the file changed. Pack it again.")
    codes[unlisted] = len(column.categories)
    return codes
