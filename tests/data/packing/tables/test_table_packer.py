"""Tables -> chunks and schema, compared with what Python's csv module and pandas read."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from configs.errors import DataError
from configs.options import construct
from data.packing.record import Item, Record
from data.packing.tables.files import ParquetFile, TextFile
from data.packing.tables.options import TablePackOptions
from data.packing.tables.packer import TablePacker
from data.packing.tables.records import Place
from data.sample import SampleError
from data.tables.schema import Schema, TableSchema

PEOPLE = """name,age,zip,born,smokes,score
"Ann, A.",31,01234,1990-05-01 10:30:00,true,1.5
Bob,NA,99999,1985-01-01 00:00:00,false,-2
"Cy
""the"" third",31,01234,,true,
Bob,7,5,2010-12-31 23:59:00,,1e3
"""


def packer_of(location: Path, **options: Any) -> TablePacker:
    built = construct(TablePackOptions(corpus=str(location), **options), location)
    assert isinstance(built, TablePacker)
    return built


def packed(location: Path, **options: Any) -> tuple[TablePacker, list[Item[Any]], list[Record], Schema]:
    packer = packer_of(location, **options)
    items = list(packer.items())
    schema = Schema.model_validate_json(packer.files()["schema.json"])
    return packer, items, [packer.encode(item) for item in items], schema


def columns_of(records: list[Record], schema: TableSchema) -> dict[str, list[Any]]:
    """The columns again: numbers, and names of categories; None where missing."""
    numeric = np.concatenate([np.asarray(record.members["numeric.npy"]) for record in records])
    categorical = np.concatenate([np.asarray(record.members["categorical.npy"]) for record in records])
    assert numeric.dtype == np.float32
    assert categorical.dtype == np.int32
    found: dict[str, list[Any]] = {}
    for values, column in zip(numeric.T, schema.numeric, strict=True):
        found[column.name] = [None if np.isnan(value) else float(value) for value in values]
    for codes, column in zip(categorical.T, schema.categorical, strict=True):
        names = [*column.categories, "OTHER", None]
        found[column.name] = [None if code < 0 else names[code] for code in codes]
    return found


def compressed(path: Path, text: str) -> Path:
    content = text.encode()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("__MACOSX/._x.csv", "shadow")
            archive.writestr("inside.csv", content)
    else:
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def refused(location: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        packed(location, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", ["people.csv", "people.csv.gz", "people.csv.zip", "people.tsv"])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_columns_have_the_types_they_look_like(tmp_path: Path, name: str, rows: int) -> None:
    text = PEOPLE
    if name.endswith(".tsv"):
        table = io.StringIO(newline="")
        csv.writer(table, delimiter="\t").writerows(csv.reader(io.StringIO(PEOPLE, newline="")))
        text = table.getvalue()
    _, items, records, schema = packed(compressed(tmp_path / name, text), rows_per_sample=rows, target="smokes")
    people = schema.tables["people"]
    assert {column.name: column.type for column in people.columns} == {
        "name": "categorical",
        "age": "numeric",
        "zip": "categorical",  # leading zeros: a code, no number
        "born": "datetime",
        "smokes": "categorical",
        "score": "numeric",
    }
    assert people.target == "smokes"
    moments = [pandas.Timestamp(text) for text in ("1990-05-01 10:30:00", "1985-01-01", "2010-12-31 23:59:00")]
    seconds = [float(np.float32((moment - moments[1]).total_seconds())) for moment in moments]
    assert columns_of(records, people) == {
        "name": ["Ann, A.", "Bob", 'Cy\n"the" third', "Bob"],
        "age": [31, None, 31, 7],
        "zip": ["01234", "99999", "01234", "5"],
        "born": [seconds[0], 0, None, seconds[2]],
        "smokes": ["true", "false", "true", None],
        "score": [1.5, -2, None, 1000],
    }
    assert [record.length for record in records] == [
        len(chunk) for chunk in np.array_split(range(4), range(rows, 4, rows))
    ]
    assert [record.members["json"]["first_row"] for record in records] == list(range(0, 4, rows))  # type: ignore[call-overload,index]
    assert len({item.name for item in items}) == len(items)


def test_the_schema_says_frequencies_moments_and_gaps(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("c,x\nb,1\na,2\nb,\na,6\nz,3\n")
    _, _, _, schema = packed(tmp_path / "t.csv", rows_per_sample=2)
    category, number = schema.tables["t"].columns
    assert category.categories == ["a", "b", "z"]  # as frequent: by name
    assert (number.mean, number.missing, schema.tables["t"].rows) == (3.0, 1, 5)
    assert number.std == pytest.approx(np.std([1, 2, 6, 3]))


def test_moments_do_not_depend_on_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = 1e6 + np.random.default_rng(0).standard_normal(500)
    (tmp_path / "t.csv").write_text("x\n" + "".join(f"{value}\n" for value in values))
    monkeypatch.setattr("data.packing.tables.survey._CELLS_AT_ONCE", 7)
    _, _, _, schema = packed(tmp_path / "t.csv", rows_per_sample=7)
    (column,) = schema.tables["t"].columns
    assert column.mean == pytest.approx(values.mean(), rel=1e-12)
    assert column.std == pytest.approx(values.std(), rel=1e-6)


cells = st.text(alphabet='ab",\n\r \u00e9\t', max_size=6).filter(lambda text: text.strip() == text)


@settings(max_examples=60, deadline=None)
@given(
    table=st.lists(st.tuples(cells, cells), min_size=1, max_size=12),
    rows=st.integers(1, 5),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    piece=st.integers(1, 9),
)
def test_any_quoted_table_is_read_as_the_csv_module_reads_it(
    fresh: Callable[[str], Path],
    table: list[tuple[str, str]],
    rows: int,
    end: str,
    quoting: Any,
    piece: int,
) -> None:
    # Before Python 3.13 csv does not quote a lone carriage return when lines end in another way.
    assume(quoting == csv.QUOTE_ALL or not any("\r" in cell for row in table for cell in row))
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=quoting).writerows([("first", "second"), *table])
    path = fresh("t.csv")
    path.write_bytes(text.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data.packing.tables.records._READ_BYTES", piece)
        _, _, records, schema = packed(
            path, rows_per_sample=rows, missing=[], types={"first": "categorical", "second": "categorical"}
        )
    assert columns_of(records, schema.tables["t"]) == {
        "first": [row[0] for row in table],
        "second": [row[1] for row in table],
    }


def test_empty_lines_are_no_rows_and_a_last_line_needs_no_end(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfa,b\r\n\r\n1,x\r\n\n2,y\n\r\n3,z")
    _, _, records, schema = packed(tmp_path / "t.csv", rows_per_sample=2)
    assert columns_of(records, schema.tables["t"]) == {"a": [1, 2, 3], "b": ["x", "y", "z"]}


def test_items_are_read_in_any_order_and_by_other_processes(tmp_path: Path) -> None:
    text = "x,c\n" + "".join(f"{number},{'ab'[number % 2]}\n" for number in range(50))
    for name in ("t.csv", "t.csv.gz"):
        packer, items, records, _ = packed(compressed(tmp_path / name, text), rows_per_sample=7)
        copy: TablePacker = pickle.loads(pickle.dumps(packer))
        for item, record in reversed(list(zip(pickle.loads(pickle.dumps(items)), records, strict=True))):
            again = copy.encode(item)
            assert np.array_equal(again.members["numeric.npy"], record.members["numeric.npy"])  # type: ignore[arg-type]
        assert all(len(pickle.dumps(item)) < 500 for item in items)


def test_a_packer_sent_to_a_worker_does_not_look_at_all_rows_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text("x\n1\n2\n")
    packer = packer_of(tmp_path / "t.csv")
    sent = pickle.dumps(packer)
    monkeypatch.setattr("data.packing.tables.packer.survey", None)
    copy: TablePacker = pickle.loads(sent)
    assert [copy.encode(item).length for item in copy.items()] == [2]


def test_parquet_is_what_it_says(tmp_path: Path) -> None:
    texts = ["2020-01-01 00:00:01", None, "2020-01-02", "2020-01-03", "2019-12-31"]
    times = pandas.to_datetime(texts, format="ISO8601")
    table = pyarrow.table(
        {
            "whole": pyarrow.array([1, None, 3, 4, 5], pyarrow.int64()),
            "real": pyarrow.array([1.5, float("nan"), float("inf"), 4, 5]),
            "text": ["7", "8", None, "7", "9"],
            "level": pyarrow.array(["lo", "hi", "lo", None, "lo"]).dictionary_encode(),
            "flag": [True, False, None, True, True],
            "when": pyarrow.array(times),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    packer, items, records, schema = packed(
        tmp_path / "t.parquet", rows_per_sample=3, datetime_parts=["day", "weekday"]
    )
    found = columns_of(records, schema.tables["t"])
    assert found == {
        "whole": [1, None, 3, 4, 5],
        "real": [1.5, None, None, 4, 5],
        "when": [86401, None, 2 * 86400, 3 * 86400, 0],
        "when.day": [1, None, 2, 3, 31],
        "when.weekday": [2, None, 3, 4, 1],
        "text": ["7", "8", None, "7", "9"],
        "level": ["lo", "hi", "lo", None, "lo"],
        "flag": ["true", "false", None, "true", "true"],
    }
    copy = pickle.loads(pickle.dumps(packer))
    for item, record in reversed(list(zip(items, records, strict=True))):
        assert np.array_equal(
            copy.encode(item).members["categorical.npy"],
            record.members["categorical.npy"],  # type: ignore[arg-type]
        )


@settings(max_examples=25, deadline=None)
@given(groups=st.lists(st.integers(1, 9), min_size=1, max_size=6), rows=st.integers(1, 12), order=st.randoms())
def test_parquet_rows_are_found_across_row_groups(
    fresh: Callable[[str], Path], groups: list[int], rows: int, order: Any
) -> None:
    path = fresh("t.parquet")
    numbers = np.arange(sum(groups), dtype=np.float64)
    with pyarrow.parquet.ParquetWriter(path, pyarrow.schema([("x", pyarrow.float64())])) as writer:
        for part in np.split(numbers, np.cumsum(groups)[:-1]):
            writer.write_table(pyarrow.table({"x": part}))
    packer = packer_of(path, rows_per_sample=rows)
    items = list(packer.items())
    for item in order.sample(items, len(items)):
        record = packer.encode(item)
        first = record.members["json"]["first_row"]  # type: ignore[call-overload,index]
        assert np.asarray(record.members["numeric.npy"])[:, 0].tolist() == numbers[first : first + rows].tolist()


def test_types_columns_and_categories_are_as_asked(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,k,c,y\n1,0,a,5\n2,1,a,6\n3,0,b,7\n4,1,d,8\n5,0,e,9\n")
    _, _, records, schema = packed(
        tmp_path / "t.csv",
        exclude=["id"],
        categorical_ints=2,
        max_categories=2,
        types={"y": "categorical"},
    )
    found = columns_of(records, schema.tables["t"])
    assert found == {
        "k": ["0", "1", "0", "1", "0"],
        "c": ["a", "a", "b", "OTHER", "OTHER"],
        "y": ["5", "6", "OTHER", "OTHER", "OTHER"],
    }
    assert [column.num_categories for column in schema.tables["t"].categorical] == [2, 3, 3]
    assert [c.name for c in packed(tmp_path / "t.csv", include=["y", "id"])[3].tables["t"].columns] == ["id", "y"]


def test_a_folder_is_several_tables_or_one(tmp_path: Path) -> None:
    for name, text in {"b": "x\n1\n2\n", "a": "x\n3\n4\n5\n"}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    _, _, records, schema = packed(tmp_path, rows_per_sample=2)
    assert {name: table.rows for name, table in schema.tables.items()} == {"a": 3, "b": 2}
    assert [record.members["json"]["table"] for record in records] == ["a", "a", "b"]  # type: ignore[call-overload,index]
    _, _, records, schema = packed(tmp_path, rows_per_sample=2, one_table=True)
    (table,) = schema.tables.values()
    assert columns_of(records, table) == {"x": [3, 4, 5, 1, 2]}
    assert [record.members["json"]["first_row"] for record in records] == [0, 2, 3]  # type: ignore[call-overload,index]
    (tmp_path / "c.csv").write_text("y\n1\n")
    assert "columns differ" in refused(tmp_path, one_table=True)


@settings(max_examples=25, deadline=None)
@given(groups=st.lists(st.integers(0, 9), min_size=1, max_size=60), rows=st.integers(1, 9), share=st.floats(0, 0.9))
def test_groups_stay_on_one_side_and_every_row_is_packed_once(
    fresh: Callable[[str], Path], groups: list[int], rows: int, share: float
) -> None:
    path = fresh("t.csv")
    path.write_text("x,g\n" + "".join(f"{number},g{group}\n" for number, group in enumerate(groups)))
    _, items, records, schema = packed(path, rows_per_sample=rows, group_column="g", validation=share)
    table = schema.tables["t"]
    sides: dict[str, set[str | None]] = {}
    seen: list[float] = []
    for item, record in zip(items, records, strict=True):
        found = columns_of([record], table)
        seen += found["x"]
        assert [f"g{groups[int(x)]}" for x in found["x"]] == found["g"]
        assert record.members["json"]["first_row"] == found["x"][0]  # type: ignore[call-overload,index]
        for group in found["g"]:
            sides.setdefault(group, set()).add(item.split)
    assert sorted(seen) == list(range(len(groups)))
    assert all(len(side) == 1 for side in sides.values())
    for side in ("train", "validation"):
        lengths = [record.length for item, record in zip(items, records, strict=True) if item.split == side]
        assert all(length == rows for length in lengths[:-1])
    assert len({item.name for item in items}) == len(items)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet"])
def test_rows_of_one_side_are_read_without_going_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    frame = pandas.DataFrame({"g": [f"g{number % 13}" for number in range(200)], "x": range(200)})
    frame.to_parquet(tmp_path / name) if name == "t.parquet" else frame.to_csv(tmp_path / name, index=False)
    packer = packer_of(tmp_path / name, rows_per_sample=9, group_column="g", validation=0.4)
    items = list(packer.items())
    reader = ParquetFile if name == "t.parquet" else TextFile
    rows: list[int] = []

    def read(self: Any, place: Place, columns: list[str], plainly: Any = reader.read) -> Any:
        rows.extend(range(place.first_row, place.first_row + place.num_rows))
        return plainly(self, place, columns)

    monkeypatch.setattr(reader, "read", read)
    for side in ("train", "validation"):
        rows.clear()
        packed_rows = sum(packer.encode(item).length for item in items if item.split == side)
        assert rows == list(range(rows[0], rows[-1] + 1))
        assert packed_rows < len(rows) <= 200


def test_a_column_says_the_split(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,part\n1,train\n2,test\n3,train\n4,dev\n5,train\n")
    _, items, records, schema = packed(tmp_path / "t.csv", rows_per_sample=2, split_column="part")
    found = [
        (item.split, columns_of([record], schema.tables["t"])) for item, record in zip(items, records, strict=True)
    ]
    assert found == [("train", {"x": [1, 3]}), ("train", {"x": [5]}), ("validation", {"x": [2, 4]})]
    assert "says neither train" in refused(tmp_path / "t.csv", split_column="part", validation_values=["test"])


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "empty"),
        (b"a,b\n", {}, "no rows"),
        (b"a,a\n1,2\n", {}, "two columns are called 'a'"),
        (b"a,b\n1,2\n3\n", {}, "Expected 2 columns, got 1"),
        (b'a,b\n1,"2\n3,4\n', {}, "ends within a quoted cell"),
        (b'a,b\n5" x,1\n6" x,1\n7,1\n', {}, "Quote that cell"),
        (b"a,b\n1,\xff\n", {}, "UTF8"),
        (b"a\xff,b\n1,2\n", {}, "not UTF-8"),
        (b"a,b\n1,x\n2,y\n", {"types": {"b": "numeric"}}, "'x' (row 0 of these) is not a number"),
        (b"a,b\n1,x\n2,y\n", {"types": {"b": "datetime"}}, "expected ISO 8601"),
        (b"a,b\n1,x\n", {"types": {"bb": "numeric"}}, "did you mean 'b'"),
        (b"a,b\n1,x\n", {"target": "c"}, "target: "),
        (b"a,b\n1,x\n", {"exclude": ["a", "b"]}, "leave no column"),
        (b"a,b\n1,x\n", {"exclude": ["a"], "target": "a"}, "is left out"),
        (b"a,b\n1,x\n", {"group_column": "c"}, "no column 'c' to split by"),
        (b"a,b\n1,x\n", {"names": ["one"]}, "1 names given"),
        (b"t,t.day\n2020-01-01,1\n", {"datetime_parts": ["day"]}, "which datetime_parts adds"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(
    tmp_path: Path, content: bytes, options: dict[str, Any], message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    found = refused(path, **options)
    assert message in found
    assert str(tmp_path) in found or "table 't'" in found


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(("x\n" + "".join(f"{number}\n" for number in range(5000))).encode())
    for name, content in {
        "t.csv.gz": whole[: len(whole) // 2],
        "u.csv.gz": b"x\n1\n",
        "t.csv.zip": b"PK no zip",
        "t.parquet": b"PAR1 none",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert str(tmp_path / name) in refused(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "two.csv.zip", "w") as archive:
        for name in "ab":
            archive.writestr(name, "x\n1\n")
    assert "expected one file inside, found a, b" in refused(tmp_path / "two.csv.zip")
    assert "no tables found" in refused(tmp_path / "nowhere")


def test_a_file_that_changes_while_it_is_packed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("c\nab\ncd\n")
    packer = packer_of(path)
    (item,) = packer.items()
    path.write_text("c\nab\nxy\n")
    with pytest.raises(SampleError, match=r"'xy' was not there in the first pass"):
        packer.encode(item)
    path.write_text("c\n")
    with pytest.raises(SampleError, match="ends early"):
        pickle.loads(pickle.dumps(packer)).encode(item)


def test_a_table_without_a_header_takes_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("1,x\n2,y\n")
    _, _, records, schema = packed(tmp_path / "t.csv", names=["a", "b"], delimiter=",")
    assert columns_of(records, schema.tables["t"]) == {"a": [1, 2], "b": ["x", "y"]}


def test_facts_are_json(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    facts = packer_of(tmp_path / "t.csv", target="b").facts()
    assert json.loads(json.dumps(facts)) == {
        "tables": {"t": {"rows": 2, "numeric": ["a"], "categorical": {"b": 2}, "target": "b"}}
    }


def test_random_mixed_tables_agree_with_pandas(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "x": rng.standard_normal(300) * 1e3,
            "n": rng.integers(-5, 5, 300),
            "c": rng.choice(["red", "green", "blue, dark"], 300),
            "t": pandas.Timestamp("2020-02-28") + pandas.to_timedelta(rng.integers(0, 10**6, 300), unit="s"),
        }
    )
    frame.loc[rng.random(300) < 0.2, ["x", "c"]] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    parts = ["year", "month", "day", "weekday", "hour", "minute"]
    _, _, records, schema = packed(tmp_path / "t.csv", rows_per_sample=64, datetime_parts=parts)
    found = columns_of(records, schema.tables["t"])
    for name in ("x", "n"):
        expected = [None if pandas.isna(value) else float(np.float32(value)) for value in frame[name]]
        assert found[name] == expected
    assert found["c"] == [None if pandas.isna(value) else value for value in frame["c"]]
    for part in parts:
        assert found[f"t.{part}"] == getattr(frame["t"].dt, {"weekday": "day_of_week"}.get(part, part)).tolist()
