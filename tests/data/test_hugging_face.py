"""Data sets of the `datasets` library, saved and read back by the library itself."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from configs.errors import ConfigError, DataError
from configs.options import validate
from data.batches import BatchPlan
from data.hugging_face import HuggingFace, HuggingFaceOptions
from data.loader import TrainLoader
from data.sample import Sample, SampleError
from data.sources import DataOptions, build_source


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub")


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def wav(frames: np.ndarray, rate: int) -> bytes:
    """[T, channels] int16."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((frames.shape[1], 2, rate, 0, "NONE", ""))
        file.writeframes(frames.tobytes())
    return stream.getvalue()


PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
FRAMES = (np.arange(40).reshape(20, 2) * 100).astype(np.int16)


def saved(path: Path, columns: dict[str, Any], features: datasets.Features | None = None) -> str:
    datasets.Dataset.from_dict(columns, features).save_to_disk(path)
    return str(path)


def first(name: str, **keys: Any) -> Sample:
    return HuggingFace(HuggingFaceOptions(name=name, **keys))[0]


def test_numbers_texts_and_lists_become_arrays_of_their_own_types(tmp_path: Path) -> None:
    value, lists = datasets.Value, datasets.List
    features = {
        "small": value("int8"),
        "real": value("float32"),
        "flag": value("bool"),
        "text": value("string"),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
        "tokens": lists(value("uint16")),
        "grid": lists(lists(value("float32"))),
        "matrix": datasets.Array2D((2, 2), "int32"),
        "words": lists(value("string")),
        "gaps": lists(value("float64")),
        "raw": value("binary"),
    }
    row = {
        "small": -3,
        "real": 0.1,
        "flag": True,
        "text": "hello",
        "label": "dog",
        "tokens": [1, 65535],
        "grid": [[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]],
        "matrix": [[1, 2], [3, 4]],
        "words": ["a", "bcd"],
        "gaps": [1.0, None],
        "raw": b"\x00\xff",
    }
    name = saved(tmp_path / "set", {key: [item] for key, item in row.items()}, datasets.Features(features))
    sample = first(name)
    expected = {
        "small": np.array(-3, np.int8),
        "real": np.array(0.1, np.float32),
        "flag": np.array(True),
        "text": np.array("hello"),
        "label": np.array(1, np.int64),
        "tokens": np.array([1, 65535], np.uint16),
        "grid": np.array(row["grid"], np.float32),
        "matrix": np.array(row["matrix"], np.int32),
        "words": np.array(["a", "bcd"]),
        "gaps": np.array([1.0, np.nan]),
        "raw": np.array([0, 255], np.uint8),
    }
    assert list(sample) == list(expected)
    for field, array in expected.items():
        assert sample[field].dtype == array.dtype, field
        np.testing.assert_array_equal(sample[field], array, err_msg=field)


def test_images_and_audio_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(png(PIXELS[::-1]))
    images = [{"bytes": png(PIXELS), "path": None}, {"bytes": None, "path": str(tmp_path / "picture.png")}]
    sounds = [{"bytes": wav(FRAMES, 8000), "path": None}] * 2
    rows = datasets.Dataset.from_dict({"image": images, "audio": sounds})
    # By a cast: the library itself would write audio only where its package for audio is installed.
    rows = rows.cast_column("image", datasets.Image()).cast_column("audio", datasets.Audio())
    rows.save_to_disk(tmp_path / "set")
    columns = {"image": "pixels", "audio": "waveform"}
    source = HuggingFace(HuggingFaceOptions(name=str(tmp_path / "set"), columns=columns))
    assert np.array_equal(source[0]["pixels"], PIXELS)
    assert np.array_equal(source[1]["pixels"], PIXELS[::-1])
    assert source[0]["waveform"].dtype == np.float32
    np.testing.assert_allclose(source[0]["waveform"], FRAMES.mean(1) / 2**15, atol=1e-6)
    assert (source[0]["sample_rate"].dtype, int(source[0]["sample_rate"])) == (np.int64, 8000)


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "n": datasets.Value("int64")})
    good, bad = {"bytes": png(PIXELS), "path": None}, {"bytes": b"no picture", "path": None}
    name = saved(tmp_path / "set", {"image": [good, bad, None, good], "n": [1, 2, 3, None]}, features)
    source = HuggingFace(HuggingFaceOptions(name=name))
    assert np.array_equal(source[0]["image"], PIXELS)
    for index, reason in ((1, "column 'image'"), (2, "column 'image': is null"), (3, "column 'n': is null")):
        with pytest.raises(SampleError, match=reason) as caught:
            source[index]
        assert str(caught.value).startswith(f"{name}, row {index}: ")


@pytest.mark.parametrize(
    "column", [[[1, None]], [[[1], [2, 3]]], [{"a": 1}], [np.datetime64("2020-01-01", "s")], [["a", None]]]
)
def test_what_is_neither_numbers_nor_text_is_refused(tmp_path: Path, column: list[Any]) -> None:
    with pytest.raises(SampleError, match="column 'x'"):
        first(saved(tmp_path / "set", {"x": column}))


def test_splits_are_chosen_by_name(tmp_path: Path) -> None:
    parts = {name: datasets.Dataset.from_dict({"x": [number]}) for number, name in enumerate(("train", "test"))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "two")
    datasets.DatasetDict({"only": parts["test"]}).save_to_disk(tmp_path / "one")
    two = str(tmp_path / "two")
    assert [int(first(two, split=split)["x"]) for split in ("train", "test")] == [0, 1]
    assert int(first(str(tmp_path / "one"))["x"]) == 1
    for split, expected in ((None, "several splits"), ("validation", "no split 'validation'")):
        with pytest.raises(DataError, match=f"{expected}; it has train, test"):
            first(two, split=split)
    with pytest.raises(DataError, match="Leave out the key 'split'"):
        first(saved(tmp_path / "plain", {"x": [1]}), split="train")


def test_what_load_dataset_reads_will_do(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.csv").write_text("x\n1\n2\n")

    source = HuggingFace(HuggingFaceOptions(name=str(tmp_path / "set"), split="train"))
    assert [int(source[index]["x"]) for index in range(2)] == [1, 2]
    with pytest.raises(DataError, match=r"cannot be loaded: .*validation"):
        first(str(tmp_path / "set"), split="validation")


def test_no_code_of_a_data_set_is_run(tmp_path: Path) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(DataError, match="cannot be loaded"):
        first(str(tmp_path / "evil"))
    assert not (tmp_path / "ran").exists()


def test_wrong_columns_and_missing_sets_are_named(tmp_path: Path) -> None:
    name = saved(tmp_path / "set", {"x": [1], "y": [2]})
    assert list(first(name, columns={"y": "label"})) == ["label"]
    with pytest.raises(DataError, match="no column z; it has x, y"):
        first(name, columns={"z": "a"})
    with pytest.raises(DataError, match=r"nowhere: cannot be loaded"):
        first(str(tmp_path / "nowhere"))
    tree = {"train": {"kind": "hugging_face", "name": name, "trust_remote_code": True}}
    with pytest.raises(ConfigError, match=r"train\.trust_remote_code"):
        validate(DataOptions, tree, "test")


def test_the_fingerprint_follows_content_split_and_columns(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "one", {"x": [1], "y": [1]}), saved(tmp_path / "other", {"x": [2], "y": [1]})
    options = [
        HuggingFaceOptions(name=one),
        HuggingFaceOptions(name=other),
        HuggingFaceOptions(name=one, columns={"x": "x"}),
        HuggingFaceOptions(name=one, columns={"x": "y"}),
    ]
    assert len({HuggingFace(part).fingerprint for part in options}) == len(options)
    before = HuggingFace(options[0]).fingerprint
    moved = Path(one).rename(tmp_path / "moved")
    assert HuggingFace(HuggingFaceOptions(name=str(moved))).fingerprint == before


@pytest.mark.parametrize("workers", [0, 2])
def test_a_recipe_trains_on_it(tmp_path: Path, workers: int) -> None:
    name = saved(tmp_path / "set", {"n": list(range(12)), "text": ["x"] * 12})
    tree = {"train": {"kind": "hugging_face", "name": name, "columns": {"n": "label"}}}
    options = validate(DataOptions, tree, "test")
    assert isinstance(options, DataOptions)
    source = build_source(options.train)
    loader = TrainLoader(source, seed=0, plan=BatchPlan(4, 2, 0, 1), start=0, stop=3, workers=workers, prefetch=2)
    labels = [label for step in loader for micro in step.micro_batches for label in micro["label"].tolist()]
    loader.close()
    assert sorted(labels) == list(range(12))
