"""Tasks from real tables: in the format of synthetic ones, true to the rows, and a function of index and generator."""

from __future__ import annotations

import csv
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import ConfigError, DataError
from configs.options import validate
from data.loader import collate
from data.priors.options import ForestOptions
from data.randomness import stream
from data.sample import RandomSource, Sample, SampleError
from data.sources import build_source
from data.tables.options import TableTasksOptions
from data.tables.tasks import TableTasks
from tests.data.tables.conftest import flowers

Pack = Callable[..., Path]


def tasks_of(folder: Path, **options: Any) -> TableTasks:
    built = validate(TableTasksOptions, {"shards": str(folder / "train-*.tar"), "rows": 40, **options}, "test")
    assert isinstance(built, TableTasksOptions)
    return TableTasks(built)


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        tasks_of(folder, **options)
    return str(caught.value)


def rows_of(text: str) -> dict[float, dict[str, str]]:
    return {float(row["number"]): row for row in csv.DictReader(io.StringIO(text))}


def same(one: Sample, other: Sample) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n], equal_nan=True) for n in one)


def test_tasks_have_the_fields_of_synthetic_tables(flower_folder: Path) -> None:
    real = tasks_of(flower_folder, max_features=6)[0]
    synthetic = build_source(ForestOptions(rows=40, max_features=6, base_rows=64))[0]
    described = {name: (value.shape, value.dtype) for name, value in real.items()}
    assert described.pop("num_context") == ((), np.dtype(np.int64))
    assert described == {name: (value.shape, value.dtype) for name, value in synthetic.items()}
    assert collate([tasks_of(flower_folder)[index] for index in range(3)])["features"].shape == (3, 40, 20)


def test_rows_and_labels_are_those_of_the_table(flower_folder: Path) -> None:
    rows = rows_of(flowers(400))
    source = tasks_of(flower_folder)
    assert len(source) == 8
    for index in range(len(source)):
        task = source[index]
        assert int(task["num_features"]) == 4
        assert (task["features"][:, 4:] == 0).all()
        names: dict[int, set[str]] = {}
        for (number, width, site, height), label in zip(
            task["features"][:, :4].tolist(), task["label"].tolist(), strict=True
        ):
            row = rows[number]
            assert width == np.float32(row["width"])
            assert np.isnan(height) if row["height"] == "" else height == np.float32(row["height"])
            assert site in (0, 1)
            names.setdefault(label, set()).add(row["kind"])
        # Every label is one kind of flower, none is missing, and the numbers are 0, 1, ...
        assert sorted(names) == list(range(int(task["num_classes"])))
        assert all(len(kinds) == 1 for kinds in names.values())
        assert "" not in set.union(*names.values())
        assert len(set(task["features"][:, 0].tolist())) == 40


def test_every_class_is_known(flower_folder: Path) -> None:
    for index in range(8):
        task = tasks_of(flower_folder, context=0.1)[index]
        assert int(task["num_context"]) == 4
        assert set(task["label"][:4]) == set(task["label"])


def test_tasks_are_functions_of_index_and_generator(flower_folder: Path) -> None:
    source = tasks_of(flower_folder, size=30, context=[0.2, 0.8])
    assert isinstance(source, RandomSource)
    assert len(source) == 30
    copy = pickle.loads(pickle.dumps(source))
    for index in (29, 0, 7):
        assert same(source[index], copy[index])
        assert same(source.draw(index, stream(1, "x")), copy.draw(index, stream(1, "x")))
        assert not same(source.draw(index, stream(1, "x")), source.draw(index, stream(2, "x")))
    assert not same(source[0], source[8])  # the same chunk, other rows
    assert len({int(source[index]["num_context"]) for index in range(30)}) > 5
    with pytest.raises(IndexError):
        source[30]


def test_fingerprints_tell_options_and_content_apart(flower_folder: Path, pack: Pack) -> None:
    other = pack({"flowers": flowers(400, seed=1)}, rows_per_sample=50, target="kind")
    found = {
        tasks_of(folder, **options).fingerprint
        for folder, options in [
            (flower_folder, {}),
            (flower_folder, {"seed": 1}),
            (flower_folder, {"context": 0.3}),
            (other, {}),
        ]
    }
    assert len(found) == 4
    assert tasks_of(flower_folder).fingerprint == tasks_of(flower_folder).fingerprint


def test_rows_come_from_several_chunks_where_asked_or_needed(flower_folder: Path) -> None:
    def chunks(task: Sample) -> int:
        return len(set((task["features"][:, 0] // 50).tolist()))

    assert chunks(tasks_of(flower_folder)[0]) == 1
    assert chunks(tasks_of(flower_folder, chunks=3)[0]) == 3
    many = tasks_of(flower_folder, rows=200)[0]
    assert 5 <= chunks(many) <= 6
    assert len(set(many["features"][:, 0].tolist())) == 200
    with pytest.raises(SampleError, match="rows with a value of 'kind'"):
        tasks_of(flower_folder, rows=400)[0]


def test_targets_are_drawn_among_those_that_qualify(flower_folder: Path) -> None:
    source = tasks_of(flower_folder, any_target=True, size=20)
    classes = {int(source[index]["num_classes"]) for index in range(20)}
    assert classes == {2, 3}
    site = tasks_of(flower_folder, target="site")[0]
    assert int(site["num_classes"]) == 2
    two = tasks_of(flower_folder, any_target=True, max_classes=2, size=20)
    assert {int(two[index]["num_classes"]) for index in range(20)} == {2}


def test_columns_are_left_out_and_drawn(flower_folder: Path) -> None:
    task = tasks_of(flower_folder, exclude=["number", "site"])[0]
    assert int(task["num_features"]) == 2
    narrow = tasks_of(flower_folder, max_features=2, size=20)
    widest = {float(narrow[index]["features"][:, 0].max()) for index in range(20)}
    assert narrow[0]["features"].shape == (40, 2)
    assert len(widest) > 3


def test_only_tables_with_tasks_are_used(pack: Pack) -> None:
    folder = pack({"few": "a,c\n1,x\n2,y\n", "flowers": flowers(100), "numbers": "a,b\n" + "1,2\n" * 60})
    source = tasks_of(folder)
    assert len(source) == 1
    assert int(source[0]["num_features"]) == 4
    assert "2 rows in these shards, a task takes 40" in refused(folder, tables=["few"])
    assert "no column is categorical" in refused(folder, tables=["numbers"])
    assert "did you mean 'flowers'" in refused(folder, tables=["flower"])
    reasons = refused(folder, target="width")
    assert "'few': 2 rows" in reasons
    assert "'flowers': column 'width' is not categorical with 2 to 10" in reasons
    assert "'numbers': has no column 'width'" in reasons
    assert "exclude: no column 'widht'" in refused(folder, exclude=["widht"])


def test_shards_and_schema_must_belong_together(
    flower_folder: Path, pack: Pack, token_shard: Callable[..., Path], tmp_path: Path
) -> None:
    other = pack({"trees": flowers(60)})
    assert "of table 'flowers'" in refused(flower_folder, schema_file=str(other / "schema.json"))
    narrower = pack({"flowers": "kind,site\n" + "a,x\nb,y\n" * 30})
    with pytest.raises(SampleError, match="do not belong together"):
        tasks_of(flower_folder, schema_file=str(narrower / "schema.json"))[0]
    assert "polytrain pack table" in refused(flower_folder, schema_file=str(tmp_path / "none.json"))
    (tmp_path / "bad.json").write_text('{"tables": {"x": {}}}')
    assert "not the schema" in refused(flower_folder, schema_file=str(tmp_path / "bad.json"))
    tokens = token_shard([np.arange(5)])
    (tokens.parent / "schema.json").write_bytes((flower_folder / "schema.json").read_bytes())
    with pytest.raises(DataError, match="holds no packed tables"):
        TableTasks(TableTasksOptions(shards=[str(tokens)]))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"context": [0.8, 0.2]}, "least <= greatest"),
        ({"context": 1.5}, "least <= greatest"),
        ({"context": [0.1, 0.2, 0.3]}, "context"),
        ({"target": "a", "any_target": True}, "give one of them"),
        ({"rows": 1}, "rows"),
    ],
)
def test_a_wrong_key_is_named(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(TableTasksOptions, {"shards": "x.tar"} | keys, "test")
