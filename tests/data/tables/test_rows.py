"""Rows of a packed table, one by one."""

from __future__ import annotations

import csv
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import DataError
from data.sample import SampleError
from data.tables.options import TableRowsOptions
from data.tables.rows import TableRows
from tests.data.tables.conftest import flowers

Pack = Callable[..., Path]


def rows_of(folder: Path, **options: Any) -> TableRows:
    return TableRows(TableRowsOptions(shards=[str(folder / "train-*.tar")], **options))


def test_rows_are_those_of_the_table(flower_folder: Path) -> None:
    source = rows_of(flower_folder)
    expected = list(csv.DictReader(io.StringIO(flowers(400))))
    assert len(source) == 400
    kinds, sites = (column.categories for column in source.schema.categorical)
    for index in (0, 49, 50, 173, 399):
        row, found = expected[index], source[index]
        assert {name: (value.shape, value.dtype.name) for name, value in found.items()} == {
            "numeric": ((3,), "float32"),
            "categorical": ((1,), "int64"),
            "label": ((), "int64"),
        }
        height = np.float32(row["height"]) if row["height"] else np.nan
        assert np.array_equal(found["numeric"], np.float32([index, row["width"], height]), equal_nan=True)
        assert sites[int(found["categorical"][0])] == row["site"]
        assert int(found["label"]) == (kinds.index(row["kind"]) if row["kind"] else -1)


def test_a_number_can_be_the_label_and_no_label_is_needed(flower_folder: Path, pack: Pack) -> None:
    found = rows_of(flower_folder, target="width")[3]
    assert (found["label"].dtype, found["numeric"].shape, found["categorical"].shape) == (np.float32, (2,), (2,))
    plain = rows_of(pack({"t": "a,b\n1,2\n3,4\n"}))
    assert set(plain[1]) == {"numeric", "categorical"}
    assert plain[1]["numeric"].tolist() == [3, 4]
    assert plain[1]["categorical"].shape == (0,)


def test_one_of_several_tables_is_chosen(pack: Pack) -> None:
    folder = pack({"a": "x\n1\n2\n3\n", "b": "y\n4\n5\n"}, rows_per_sample=2)
    assert [float(row["numeric"][0]) for row in map(rows_of(folder, table="b").__getitem__, range(2))] == [4, 5]
    with pytest.raises(DataError, match="several tables; choose one with the key 'table': a, b"):
        rows_of(folder)
    with pytest.raises(DataError, match="no table 'c'"):
        rows_of(folder, table="c")
    with pytest.raises(DataError, match="target: no column 'z'"):
        rows_of(folder, table="a", target="z")


def test_rows_go_to_worker_processes_and_are_told_apart(flower_folder: Path) -> None:
    source = rows_of(flower_folder)
    copy = pickle.loads(pickle.dumps(source))
    assert np.array_equal(copy[77]["numeric"], source[77]["numeric"], equal_nan=True)
    assert copy.fingerprint == source.fingerprint != rows_of(flower_folder, target="site").fingerprint
    with pytest.raises(IndexError):
        source[400]


def test_a_schema_of_other_columns_is_noticed(flower_folder: Path, pack: Pack) -> None:
    wider = pack({"flowers": ",".join(f"c{n}" for n in range(30)) + "\n" + ",".join("1" * 30) + "\n"})
    with pytest.raises(SampleError, match="do not belong together"):
        rows_of(flower_folder, schema_file=str(wider / "schema.json"))[0]
