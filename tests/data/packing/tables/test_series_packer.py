"""Sets of time series, as .ts files of the real format and as tables."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import DataError
from configs.options import construct
from data.packing.record import Item, Record
from data.packing.tables.options import SeriesPackOptions
from data.packing.tables.series import SeriesPacker
from data.sample import SampleError

HEADER = """# Made for a test: a comment with a colon.
@problemName Moves
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
"""
TRAIN = HEADER + "1.0,2.0,?:4,5,6:up\n-1e2,NaN:0.5,7:down\n\n# between\n3:4:up\n"
TEST = HEADER + "9,8:7,6:down\n"


def packed(location: Path, **options: Any) -> tuple[SeriesPacker, list[Item[Any]], list[Record]]:
    packer = construct(SeriesPackOptions(corpus=str(location), **options), location)
    assert isinstance(packer, SeriesPacker)
    items = list(packer.items())
    return packer, items, [packer.encode(item) for item in items]


def values_of(records: Sequence[Record]) -> list[Any]:
    found = []
    for record in records:
        array = np.asarray(record.members["series.npy"])
        assert array.dtype == np.float32
        assert len(array) == record.length
        found.append(np.where(np.isnan(array), None, array.astype(object)).tolist())
    return found


def refused(location: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        packed(location, **options)
    return str(caught.value)


def test_a_ts_file_gives_its_series_and_classes(tmp_path: Path) -> None:
    (tmp_path / "Moves_TRAIN.ts").write_text(TRAIN)
    packer, items, records = packed(tmp_path / "Moves_TRAIN.ts")
    assert values_of(records) == [[[1, 4], [2, 5], [None, 6]], [[-100, 0.5], [None, 7]], [[3, 4]]]
    assert [record.members["cls"] for record in records] == [0, 1, 0]
    assert [record.members["json"]["label"] for record in records] == ["up", "down", "up"]  # type: ignore[call-overload,index]
    assert packer.facts() == {"classes": ["up", "down"]}
    assert {item.split for item in items} == {None}
    assert len({item.name for item in items}) == 3
    copy = pickle.loads(pickle.dumps(packer))
    assert values_of([copy.encode(item) for item in reversed(items)]) == values_of(records)[::-1]


def test_a_folder_says_what_is_for_training(tmp_path: Path) -> None:
    (tmp_path / "Moves_TRAIN.ts").write_text(TRAIN)
    (tmp_path / "Moves_TEST.ts").write_text(TEST)
    (tmp_path / "Moves_TRAIN.csv").write_text("the same in another format\n")
    _, items, records = packed(tmp_path)
    assert [item.split for item in items] == ["validation", "train", "train", "train"]
    assert values_of(records)[0] == [[9, 7], [8, 6]]
    (tmp_path / "Other_TRAIN.ts").write_text(TRAIN)
    assert "several problems: Moves, Other" in refused(tmp_path)
    assert len(packed(tmp_path, problem="Other")[2]) == 3
    (tmp_path / "Moves_TEST.ts").write_text(TEST.replace("up down", "up left"))
    assert "need the same" in refused(tmp_path, problem="Moves")
    assert "no series found" in refused(tmp_path, problem="Nothing")


def test_targets_of_regression_are_numbers(tmp_path: Path) -> None:
    text = TRAIN.replace("@classLabel true up down", "@targetlabel true").replace("up", "0.25").replace("down", "-3")
    (tmp_path / "t.ts").write_text(text)
    packer, _, records = packed(tmp_path / "t.ts")
    assert [float(record.members["target.npy"]) for record in records] == [0.25, -3, 0.25]  # type: ignore[arg-type]
    assert all("cls" not in record.members for record in records)
    assert packer.facts() == {}


def test_series_without_labels(tmp_path: Path) -> None:
    (tmp_path / "t.ts").write_text("@problemName x\n@classLabel false\n@data\n1,2:3,4\n")
    _, _, records = packed(tmp_path / "t.ts")
    assert values_of(records) == [[[1, 3], [2, 4]]]
    assert set(records[0].members) == {"series.npy", "json"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2:3:up", "channels of 1 and 2 steps"),
        ("1,x:3,4:up", "could not convert string to float"),
        ("1,2:3,4:left", "label 'left' is not a class"),
        ("up", "has a label but no values"),
        ("(0,1.5),(1,2):up", "time stamps"),
    ],
)
def test_a_damaged_series_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "t.ts").write_text(HEADER + "1:2:up\n" + line + "\n")
    packer = SeriesPacker(SeriesPackOptions(corpus=""), tmp_path / "t.ts")
    _, bad = packer.items()
    with pytest.raises(SampleError, match=message) as caught:
        packer.encode(bad)
    assert str(tmp_path / "t.ts") in str(caught.value)


def test_files_that_are_not_read_say_so(tmp_path: Path) -> None:
    (tmp_path / "t.ts").write_text(TRAIN.replace("@timeStamps false", "@timeStamps True"))
    assert "time stamps" in refused(tmp_path / "t.ts")
    (tmp_path / "t.ts").write_text("nothing\n")
    assert "has no line '@data'" in refused(tmp_path / "t.ts")
    (tmp_path / "t.ts").write_bytes(b"\xff\xfe\n")
    assert "cannot be read" in refused(tmp_path / "t.ts")


def test_wide_tables_have_a_series_in_each_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('who,t0,t1,t2,kind\n"a,\nb",1,2,3,x\nc,4,,6,w\nd,7,,,x\n')
    packer, items, records = packed(tmp_path / "t.csv", label_column="kind", id_column="who")
    assert values_of(records) == [[[1], [2], [3]], [[4], [None], [6]], [[7]]]
    assert packer.facts() == {"classes": ["w", "x"]}
    assert [record.members["cls"] for record in records] == [1, 0, 1]
    assert [item.name for item in items] == ["t.csv:a,\nb", "t.csv:c", "t.csv:d"]
    assert values_of(packed(tmp_path / "t.csv", ignore=["who", "kind"])[2]) == values_of(records)


def test_long_tables_have_a_step_in_each_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.packing.tables.series_files._ROWS_AT_ONCE", 2)
    (tmp_path / "t.csv").write_text("day,who,x,y,kind\n1,a,1,2,u\n2,a,3,,u\n3,a,5,6,u\n1,b,7,8,v\n")
    options = {"layout": "long", "id_column": "who", "label_column": "kind", "ignore": ["day"]}
    _, items, records = packed(tmp_path / "t.csv", **options)
    assert values_of(records) == [[[1, 2], [3, None], [5, 6]], [[7, 8]]]
    assert [record.members["cls"] for record in records] == [0, 1]
    assert [item.name for item in items] == ["t.csv:a", "t.csv:b"]
    with (tmp_path / "t.csv").open("a") as stream:
        stream.write("4,a,9,9,u\n")
    assert "'a' do not lie together" in refused(tmp_path / "t.csv", **options)
    assert "needs id_column" in refused(tmp_path / "t.csv", layout="long")
    assert "did you mean 'who'" in refused(tmp_path / "t.csv", layout="long", id_column="whom")


def test_members_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "t.ts").write_text(TRAIN)
    for record in packed(tmp_path / "t.ts")[2]:
        json.dumps(record.members["json"])
        assert type(record.members["cls"]) is int
