"""idx, .npz, .npy and .csv files of images."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import DataError
from data.images.decode import decode_image
from data.packing.images.options import ImagePackOptions
from data.packing.images.packer import ImagePacker
from data.sample import SampleError

BYTES = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8)


def packer(location: Path, **options: Any) -> ImagePacker:
    return ImagePacker(ImagePackOptions(corpus=str(location), **options), location)


def packed(location: Path, **options: Any) -> dict[str, tuple[str | None, np.ndarray, object]]:
    """Split, pixels and class of every image, by name."""
    made = packer(location, **options)
    found: dict[str, tuple[str | None, np.ndarray, object]] = {}
    for item in made.items():
        members = dict(made.encode(item).members)
        found[item.name] = (item.split, decode_image(members.pop("png"), "unchanged"), members.pop("cls", None))  # type: ignore[arg-type]
        assert not members
        assert item.group == item.name
    return found


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, suffix: str = ".gz") -> None:
    for name, images, labels in (("train", BYTES, LABELS), ("t10k", BYTES[:2], LABELS[:2])):
        for file, content in ((f"{name}-images-idx3-ubyte", idx(images)), (f"{name}-labels-idx1-ubyte", idx(labels))):
            (folder / (file + suffix)).write_bytes(gzip.compress(content) if suffix else content)


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_mnist_comes_without_loss_with_labels_and_its_own_split(suffix: str, tmp_path: Path) -> None:
    write_mnist(tmp_path, suffix)
    found = packed(tmp_path)
    assert len(found) == 8
    for row in range(6):
        split, pixels, label = found[f"train-images-idx3-ubyte:{row}"]
        assert (split, label) == ("train", LABELS[row])
        assert np.array_equal(pixels[:, :, 0], BYTES[row])
    assert found["t10k-images-idx3-ubyte:1"][0] == "validation"
    assert packer(tmp_path).facts() == {"classes": [1, 3, 4, 5, 9]}
    assert {split for split, _, _ in packed(tmp_path, splits="hash").values()} == {None}


def test_a_plain_idx_file_goes_before_its_gz(tmp_path: Path) -> None:
    write_mnist(tmp_path, ".gz")
    write_mnist(tmp_path, "")
    assert len(packed(tmp_path)) == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(BYTES)[:-1], "135 bytes, expected 136 for the shape"),
        (b"", "not an idx file"),
        (b"PK\3\4whatever", "not an idx file: begins with 50 4b 03 04"),
        (idx(BYTES.reshape(6, 20)), r"images of shape \[6, 20\]"),
    ],
)
def test_damaged_idx_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    write_mnist(tmp_path, "")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        list(packer(tmp_path).items())
    assert "train-images-idx3-ubyte" in str(caught.value)


def test_a_truncated_gzip_and_missing_labels_are_named(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz: cannot be read"):
        list(packer(tmp_path).items())
    path.unlink()
    with pytest.raises(DataError, match="expected its labels beside it, in t10k-labels-idx1-ubyte or"):
        list(packer(tmp_path).items())


def test_an_npz_of_keras_has_pairs_and_splits(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, x_train=BYTES, y_train=LABELS, x_test=BYTES[:1], y_test=LABELS[:1])
    found = packed(path)
    assert [(name, split, label) for name, (split, _, label) in found.items() if name.endswith(":0")] == [
        ("x_test:0", "validation", 3),
        ("x_train:0", "train", 3),
    ]
    assert len(found) == 7


def test_an_npz_of_medmnist_leaves_its_test_part_unseen(tmp_path: Path) -> None:
    path = tmp_path / "medmnist.npz"
    colour = np.stack([BYTES] * 3, axis=-1)
    arrays = {f"{part}_images": colour for part in ("train", "val", "test")}
    labels = {f"{part}_labels": LABELS[:, None] for part in ("train", "val", "test")}
    np.savez(path, **arrays, **labels)
    found = packed(path)
    assert {name.split(":")[0]: split for name, (split, _, _) in found.items()} == {
        "train_images": "train",
        "val_images": "validation",
    }
    assert np.array_equal(found["val_images:2"][1], colour[2])
    assert found["val_images:2"][2] == 4
    assert packer(path).facts()["left_out"] == {"test_images": 6}


def test_arrays_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, one=BYTES, two=BYTES[:2], target=LABELS)
    assert len(packed(path)) == 8
    found = packed(path, images="one", labels="target")
    assert [label for _, _, label in found.values()] == LABELS.tolist()
    with pytest.raises(DataError, match=r"no array 'three'; it has one, target, two"):
        packed(path, images="three")
    with pytest.raises(DataError, match=r"which array holds the images\? It has one \[6, 5, 4\].*--images"):
        packed(path, labels="target")
    with pytest.raises(DataError, match=r"labels of shape \[6\] for 2 images"):
        packed(path, images="two", labels="target")


def test_an_npy_has_its_labels_in_a_file_beside_it(tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", BYTES)
    np.save(tmp_path / "ages.npy", LABELS.astype(float))
    assert packed(tmp_path / "faces.npy")["faces:1"][2] is None
    assert packed(tmp_path / "faces.npy", labels="ages.npy")["faces:1"][2] == 1
    with pytest.raises(DataError, match=r"faces\.npy: cannot be read as \.npy: .*nowhere"):
        packed(tmp_path / "faces.npy", labels="nowhere.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_nothing_is_unpickled(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    objects = np.array([Trap()], dtype=object)
    np.save(path, objects, allow_pickle=True) if name.endswith("npy") else np.savez(path, images=objects)
    with pytest.raises(DataError, match=r"allow_pickle=False|Python objects"):
        packed(path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="cannot be read as"):
        packed(path)


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[[0.0, 0.5, 1.0]]]), [0, 128, 255]),
        (np.array([[[0.0, 0.25, 1.0]]], dtype=np.float16), [0, 64, 255]),
        (np.array([[[False, True, True]]]), [0, 255, 255]),
        (np.array([[[0, 7, 255]]], dtype=np.int64), [0, 7, 255]),
    ],
)
def test_values_become_bytes(array: np.ndarray, expected: list[int], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    ((_, pixels, _),) = packed(tmp_path / "a.npy").values()
    assert pixels[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    "values",
    [[0.0, 1.5], [-0.1, 1.0], [np.nan, 0.5], [0, 256], [-1, 5]],
    ids=["above", "below", "nan", "large", "negative"],
)
def test_values_out_of_range_are_named_with_their_row(values: list[float], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[[0, 0]], [values]]))
    made = packer(tmp_path / "a.npy")
    first, second = made.items()
    made.encode(first)
    with pytest.raises(SampleError, match=r"a\.npy, a, row 1: values of type .* expected them in \[0, (1|255)\]"):
        made.encode(second)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((6, 4), dtype=np.uint8), r"images of shape \[6, 4\]"),
        (np.zeros((6, 3, 32, 32), dtype=np.uint8), "1, 3 or 4 channels. Transpose"),
        (np.array([[["a"]]]), "images of type <U1, expected numbers"),
    ],
)
def test_arrays_that_are_no_images_are_named(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        packed(tmp_path / "a.npy")


def csv(rows: np.ndarray, header: str = "") -> bytes:
    lines = [",".join(f"{value:g}" for value in row) for row in rows]
    return "\n".join([*([header] if header else []), *lines, ""]).encode()


TABLE = np.column_stack([BYTES[:, :4].reshape(6, 16), LABELS])


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_csv_has_pixels_and_the_label_last(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(gzip.compress(csv(TABLE)) if name.endswith("gz") else csv(TABLE))
    found = packed(tmp_path / name)
    for row in range(6):
        _, pixels, label = found[f"{name}:{row}"]
        assert np.array_equal(pixels[:, :, 0], BYTES[row, :4])
        assert label == LABELS[row]


def test_a_csv_with_a_header_and_the_label_first(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(csv(np.roll(TABLE, 1, axis=1), '"label",' + ",".join(f"pixel{number}" for number in range(16))))
    for column in ("label", "0", "-17"):
        found = packed(path, label_column=column)
        assert [label for _, _, label in found.values()] == LABELS.tolist()
        assert np.array_equal(found["train.csv:5"][1][:, :, 0], BYTES[5, :4])
    with pytest.raises(
        DataError, match=r"no column 'lable' .*Expected a name \(label, pixel0, pixel1, ...\) or a number"
    ):
        packed(path, label_column="lable")


def test_a_csv_of_other_shapes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(csv(TABLE[:, :16]))
    assert packed(path, label_column="none")["a.csv:0"][1].shape == (4, 4, 1)
    assert packed(path, label_column="none", height=2)["a.csv:0"][1].shape == (2, 8, 1)
    assert packed(path, label_column="none", width=16)["a.csv:0"][1].shape == (1, 16, 1)
    for shape in ({"height": 3}, {"height": 4, "width": 5}):
        with pytest.raises(DataError, match=r"16 pixels a row are not .* Set --height and --width"):
            packed(path, label_column="none", **shape)


def test_a_csv_of_fractions(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"0,0.5,1,0.25,7\n1,1,0,0,8\n")
    assert packed(path)["a.csv:0"][1].reshape(-1).tolist() == [0, 128, 255, 64]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows"),
        (b"a,b\n", "no rows"),
        (b"1,2\n3\n", "cannot be read as a table of numbers"),
        (b"1,2\nx,4\n", "cannot be read as a table of numbers"),
        (b"300,1\n", "pixels from 300 to 300, expected them in"),
        (b"nan,1\n", "pixels from nan"),
        (b"1.5,1\n", "pixels above 1 that are not whole numbers"),
        (b"1,nan\n", "labels of type float32, expected whole numbers"),
        (b"1,2.5\n", "labels of type float32, expected whole numbers"),
    ],
)
def test_damaged_csv_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        packed(tmp_path / "a.csv")
    assert "a.csv" in str(caught.value)
