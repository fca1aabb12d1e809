"""Numpy arrays side by side."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from configs.errors import DataError
from configs.options import construct
from data.packing.record import Item, Record
from data.packing.tables.arrays import ArrayPacker
from data.packing.tables.options import ArrayPackOptions

X = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
Y = np.array([5, 0, 5, 2], dtype=np.uint8)


def packed(location: Path, **options: Any) -> tuple[ArrayPacker, list[Item[int]], list[Record]]:
    packer = construct(ArrayPackOptions(corpus=str(location), **options), location)
    assert isinstance(packer, ArrayPacker)
    items = list(packer.items())
    return packer, items, [packer.encode(item) for item in items]


@pytest.fixture(params=["folder", "pair.npz", "small.npz"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """x and y in a folder, an .npz, a compressed .npz."""
    path: Path = tmp_path / request.param
    if request.param == "folder":
        path.mkdir()
        for name, array in {"x": X, "y": Y}.items():
            np.save(path / f"{name}.npy", array)
    else:
        (np.savez if request.param == "pair.npz" else np.savez_compressed)(path, x=X, y=Y)
    return path


def test_arrays_side_by_side_become_fields(pair: Path) -> None:
    packer, items, records = packed(pair)
    assert len({item.name for item in items}) == len(items) == 4
    for number, record in enumerate(records):
        assert set(record.members) == {"x.npy", "y.npy"}
        assert record.length == 3
        for name, array in {"x.npy": X, "y.npy": Y}.items():
            found = record.members[name]
            assert isinstance(found, np.ndarray)
            assert found.dtype == array.dtype
            assert np.array_equal(found, array[number])
    assert packer.facts() == {
        "arrays": {"x": {"dtype": "float32", "shape": [3, 2]}, "y": {"dtype": "uint8", "shape": []}}
    }


def test_labels_become_classes_and_groups_stay_together(pair: Path) -> None:
    _, items, records = packed(pair, labels="y", groups="y")
    assert [record.members["cls"] for record in records] == [5, 0, 5, 2]
    assert all(type(record.members["cls"]) is int for record in records)
    assert set(records[0].members) == {"x.npy", "cls"}
    assert items[0].group == items[2].group
    assert len({item.group for item in items}) == 3


def test_a_packer_is_sent_to_workers_without_its_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", np.zeros((1000, 100)))
    packer, items, _ = packed(tmp_path / "big.npy")
    sent = pickle.dumps(packer)
    assert len(sent) < 2000
    assert set(pickle.loads(sent).encode(items[7]).members) == {"array.npy"}


@settings(max_examples=40, deadline=None)
@given(
    array=hnp.arrays(
        dtype=st.sampled_from(["<f4", ">f8", "<i2", "|u1", "|b1", "<c8"]),
        shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
    ),
    fortran=st.booleans(),
)
def test_any_numbers_come_through(fresh: Callable[[str], Path], array: np.ndarray, fortran: bool) -> None:
    path = fresh("a.npy")
    np.save(path, np.asfortranarray(array) if fortran else array)
    _, _, records = packed(path)
    found = np.stack([np.asarray(record.members["array.npy"]) for record in records])
    assert np.array_equal(found, array, equal_nan=array.dtype.kind in "fc")
    assert records[0].length == (array.shape[1] if array.ndim > 1 else 0)


class Trap:
    """Unpickling it would fail loudly."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": X, "y": Y[:3]}, {}, "'y' has 3 samples, 'x' has 4"),
        ({"x": np.array(["a", "b"])}, {}, "expected numbers"),
        ({"x": np.zeros(3, dtype=[("a", "i4"), ("b", "f4")])}, {}, "structured array"),
        ({"x": np.array(["2020-01-01"], dtype="M8[s]")}, {}, "datetime64"),
        ({"x": np.array(5.0)}, {}, "first dimension"),
        ({"x": np.array([Trap(), Trap()], dtype=object)}, {}, "pickled objects"),
        ({"x": X}, {"labels": "y"}, "labels: "),
        ({"x": X}, {"labels": "x"}, "expected one whole number"),
        ({"y": Y}, {"labels": "y"}, "no array is left"),
        ({"my.x": X}, {}, "lower-case letters"),
        ({}, {}, "holds no .npy"),
    ],
)
def test_what_cannot_be_packed_is_said(
    tmp_path: Path, arrays: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
    with pytest.raises(DataError) as caught:
        packed(tmp_path, **options)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_objects_in_an_archive_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.array([Trap()], dtype=object))
    with pytest.raises(DataError, match="pickled objects"):
        packed(tmp_path / "t.npz")


@pytest.mark.parametrize("name", ["t.npy", "t.npz", "t.bin", "gone.npy"])
def test_files_that_are_none_are_named(tmp_path: Path, name: str) -> None:
    if name != "gone.npy":
        (tmp_path / name).write_bytes(b"\x93NUMPY nothing")
    with pytest.raises(DataError, match=name):
        packed(tmp_path / name)
