from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from configs.errors import DataError
from data.packing.text.documents import Document, documents
from data.packing.text.readers.options import DocumentOptions

ROWS: list[dict[str, Any]] = [
    {"id": 1, "text": "one, two", "meta": {"body": "inner one", "kind": "a"}, "a.b": "dotted", "stars": 5},
    {"id": 2, "text": 'say "x"\nagain', "meta": {"body": "inner two", "kind": "b"}, "a.b": "key", "stars": 0},
    {"id": 3, "text": "caf\u00e9 " * 30_000, "meta": {"body": "inner three", "kind": "a"}, "a.b": "!", "stars": -1},
]


def read(path: Path, **options: Any) -> list[Document]:
    return list(documents(str(path), DocumentOptions(**options)))


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pandas

    flat = [{key: value for key, value in row.items() if key != "meta"} for row in rows]
    pandas.DataFrame(flat).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)
    return path


WRITERS = {
    "rows.jsonl": write_jsonl,
    "rows.csv": write_csv,
    "rows.tsv": write_csv,
    "rows.csv.gz": write_csv,
    "rows.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_rows_are_documents_in_order(tmp_path: Path, name: str) -> None:
    found = read(WRITERS[name](tmp_path / name, ROWS))
    assert [document.text for document in found] == [row["text"] for row in ROWS]
    assert [document.name for document in found] == [document.group for document in found]
    assert [document.name for document in found] == [f"{name}:{number}" for number in (1, 2, 3)]
    assert {document.label for document in found} == {None}


@pytest.mark.parametrize("name", WRITERS)
def test_texts_and_labels_are_taken_from_the_keys_that_are_named(tmp_path: Path, name: str) -> None:
    found = read(WRITERS[name](tmp_path / name, ROWS), text_key="a.b", label_key="stars")
    assert [document.text for document in found] == ["dotted", "key", "!"]
    labels = [document.label for document in found]
    assert labels == (["5", "0", "-1"] if "sv" in name else [5, 0, -1])


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_dots_lead_into_nested_keys(tmp_path: Path, name: str) -> None:
    found = read(WRITERS[name](tmp_path / name, ROWS), text_key="meta.body", label_key="meta.kind")
    assert [(document.text, document.label) for document in found] == [
        ("inner one", "a"),
        ("inner two", "b"),
        ("inner three", "a"),
    ]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("options", [{"text_key": "txet"}, {"label_key": "txet"}])
def test_a_key_that_is_not_there_is_refused(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    with pytest.raises(DataError, match="txet") as caught:
        read(WRITERS[name](tmp_path / name, ROWS), **options)
    assert name in str(caught.value)
    assert "text" in str(caught.value)  # what there is instead


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_a_value_of_another_type_is_named(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name, [*ROWS[:1], {"text": None, "id": 4, "meta": {"body": "b", "kind": "c"}}])
    with pytest.raises(DataError, match=r'(row|line) 2: "text" is NoneType, expected a string'):
        read(path)
    with pytest.raises(DataError, match=r'(row|line) 1: "meta" is dict, expected a string or an integer'):
        read(path, label_key="meta")


def test_a_missing_label_is_no_label(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"text": "x", "label": None}, {"text": "y", "label": True}])
    assert [document.label for document in read(path, label_key="label")] == [None, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,id\nok,1\nbad\n", r"row 2 \(line 3\): 1 fields, the first row names 2 columns"),
        (b'text,id\nok,1\n"bad" x,2\n', "cannot be read after row 1"),
        (b"text,id\nok,1\n\xff,2\n", "cannot be read after row"),
        (b'text,id\nok,1\n"open', "cannot be read after row 1"),
        (b"", "has no column 'text'"),
    ],
)
def test_damaged_csv_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cut", [0, 3, 500])
def test_damaged_parquet_is_named(tmp_path: Path, cut: int) -> None:
    path = write_parquet(tmp_path / "rows.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match="cannot be read after row 0") as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_invalid_utf8_is_replaced_where_that_is_asked_for(tmp_path: Path) -> None:
    for name, content in {
        "a.jsonl": b'{"text": "\xff"}\n',
        "b.csv": b"text\n\xff\n",
        "c.txt.gz": gzip.compress(b"\xff"),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError):
            read(tmp_path / name)
    assert [document.text for document in read(tmp_path, invalid_utf8="replace")] == ["\ufffd"] * 3


def test_rows_are_read_as_they_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "fine"}\nnot json\n')
    stream = documents(str(path))
    assert next(stream).text == "fine"
    with pytest.raises(DataError):
        next(stream)
