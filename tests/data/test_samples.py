from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from configs.errors import DataError
from data.index import write_index
from data.sample import SampleError
from data.samples import Samples
from data.sources import SamplesOptions

Written = list[dict[str, Any]]


@pytest.fixture
def written() -> Written:
    """Samples as a webdataset user writes them."""
    random = np.random.default_rng(0)
    return [
        {
            "__key__": f"folder/{number:03d}",
            "depth.npy": random.normal(size=(2, 3)).astype(np.float32),
            "cls": number % 4,
            "txt": f"caption {number} ä",
            "json": {"caption": f"words {number}", "box": {"width": number, "corners": [1.5, number]}},
            "bin": bytes([number, 255]),
        }
        for number in range(7)
    ]


@pytest.fixture
def shard(fresh: Callable[[str], Path]) -> Callable[[Written], Path]:
    def write(samples: Written) -> Path:
        path = fresh("theirs.tar")
        with webdataset.TarWriter(str(path), mtime=0) as writer:
            for sample in samples:
                writer.write(sample)
        write_index(path)
        return path

    return write


def samples_of(*paths: Path, **options: Any) -> Samples:
    return Samples(SamplesOptions(shards=[str(path) for path in paths], **options))


def test_members_of_plain_webdataset_shards_are_decoded_by_extension(
    written: Written, shard: Callable[[Written], Path]
) -> None:
    fields = {"depth": "depth.npy", "label": "cls", "caption": "json:caption", "corners": "json:box.corners"}
    source = samples_of(shard(written[:4]), shard(written[4:]), fields=fields | {"text": "txt", "raw": "bin:raw"})
    assert len(source) == 7
    for number, expected in enumerate(written):
        sample = source[number]
        assert sample.keys() == {"depth", "label", "caption", "corners", "text", "raw"}
        np.testing.assert_array_equal(sample["depth"], expected["depth.npy"])
        assert (sample["label"].dtype, sample["label"].shape, int(sample["label"])) == (np.int64, (), number % 4)
        assert (str(sample["caption"]), str(sample["text"])) == (f"words {number}", f"caption {number} ä")
        assert sample["corners"].tolist() == [1.5, number]
        assert sample["raw"].tolist() == [number, 255]


def test_without_fields_every_member_but_json_is_decoded(written: Written, shard: Callable[[Written], Path]) -> None:
    plain = [{key: value for key, value in sample.items() if key != "bin"} for sample in written]
    assert samples_of(shard(plain))[3].keys() == {"depth", "label", "text"}
    with pytest.raises(DataError, match=r"no decoder for members '\.bin'; known: jpg"):
        samples_of(shard(written))


def test_alternatives_are_taken_in_the_order_given(shard: Callable[[Written], Path]) -> None:
    path = shard([{"__key__": "a", "txt": "from txt"}, {"__key__": "b", "text": "from text"}])
    source = samples_of(path, fields={"words": "text;txt"})
    assert [str(source[number]["words"]) for number in range(2)] == ["from txt", "from text"]


def test_a_missing_member_names_shard_key_and_members(shard: Callable[[Written], Path]) -> None:
    path = shard([{"__key__": "whole", "cls": 1, "txt": "t"}, {"__key__": "broken", "txt": "t"}])
    source = samples_of(path, fields={"label": "cls"})
    assert int(source[0]["label"]) == 1
    with pytest.raises(SampleError, match=f"{path}, sample 'broken': has no member cls"):
        source[1]


def test_a_field_that_no_sample_has_is_refused_at_once(shard: Callable[[Written], Path]) -> None:
    path = shard([{"__key__": "a", "txt": "t"}])
    with pytest.raises(DataError, match=r"no sample has a member jpg or png for the field 'image'; its members"):
        samples_of(path, fields={"image": "jpg;png"})


@pytest.mark.parametrize(
    ("field", "problem"),
    [("txt:key", "only JSON members have keys"), ("json", "a JSON member is read by key"), ("bin", "no decoder")],
)
def test_a_wrong_description_of_a_field_is_refused(
    field: str, problem: str, written: Written, shard: Callable[[Written], Path]
) -> None:
    with pytest.raises(DataError, match=problem):
        samples_of(shard(written), fields={"x": field})


@pytest.mark.parametrize(
    ("extension", "content"),
    [
        ("cls", b"seven"),
        ("cls", b""),
        ("cls", b"99999999999999999999"),
        ("npy", b"not an array"),
        ("npy", b""),
        ("txt", b"\xff\xfe"),
        ("npz", b"PK not really"),
        ("npz", b""),
        ("npz", b"\x93NUMPY\x01\x00"),
        ("npy", b"\x93NUMPY\x01\x00\x0a\x00{'descr': ("),
    ],
)
def test_damaged_members_name_shard_key_and_member(
    extension: str, content: bytes, shard: Callable[[Written], Path]
) -> None:
    # Beside a good one, so that the index sees a well-formed shard.
    good = {"cls": b"1", "txt": b"t", "npz": b"", "npy": b""}[extension]
    if extension == "npy":
        stream = io.BytesIO()
        np.save(stream, np.zeros(3))
        good, extension = stream.getvalue(), "x.npy"
    path = shard([{"__key__": "good", extension: good}, {"__key__": "bad", extension: content}])
    with pytest.raises(SampleError, match=rf"{path}, sample 'bad': {extension}: "):
        samples_of(path)[1]


def test_a_truncated_array_is_a_damaged_sample(shard: Callable[[Written], Path]) -> None:
    stream = io.BytesIO()
    np.save(stream, np.arange(1000))
    path = shard([{"__key__": "short", "x.npy": stream.getvalue()[:-100]}])
    with pytest.raises(SampleError, match=r"sample 'short': x\.npy: "):
        samples_of(path)[0]


def test_arrays_of_python_objects_are_never_unpickled(shard: Callable[[Written], Path]) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("unpickled",))

    stream = io.BytesIO()
    np.save(stream, np.array([Bomb()], dtype=object), allow_pickle=True)
    archive = io.BytesIO()
    np.savez(archive, x=np.array([Bomb()], dtype=object))
    path = shard([{"__key__": "a", "x.npy": stream.getvalue(), "y.npz": archive.getvalue()}])
    for extension in ("x.npy", "y.npz"):
        with pytest.raises(SampleError, match="Object arrays cannot be loaded"):
            samples_of(path, fields={"x": extension})[0]


def test_the_fingerprint_follows_content_and_fields(written: Written, shard: Callable[[Written], Path]) -> None:
    path, same, other = shard(written), shard(written), shard(written[:-1])
    chosen: dict[str, Any] = {"fields": {"label": "cls"}}
    prints = [samples_of(found, **chosen).fingerprint for found in (path, same, other)]
    assert prints[0] == prints[1] != prints[2]
    assert samples_of(path, fields={"label": "json:box.width"}).fingerprint != prints[0]


def test_a_source_can_be_sent_to_a_worker(written: Written, shard: Callable[[Written], Path]) -> None:
    source = samples_of(shard(written), fields={"d": "depth.npy", "c": "json:caption", "raw": "bin:raw"})
    sent = pickle.loads(pickle.dumps(source))
    for name, array in source[2].items():
        np.testing.assert_array_equal(sent[2][name], array)
    assert json.dumps(source.name(2)) == json.dumps(sent.name(2))


def test_keys_that_are_not_ascii(shard: Callable[[Written], Path]) -> None:
    path = shard([{"__key__": "ünder", "cls": 1}, {"__key__": "日本", "cls": 2}])
    assert [int(samples_of(path)[number]["label"]) for number in range(2)] == [1, 2]


def test_nested_json_beyond_reason_is_a_damaged_sample(shard: Callable[[Written], Path]) -> None:
    path = shard([{"__key__": "deep", "json": b"[" * 200_000}])
    with pytest.raises(SampleError, match="sample 'deep': json: JSON nested too deeply"):
        samples_of(path, fields={"x": "json:x"})[0]


def test_a_file_is_taken_by_its_name_whatever_marks_are_in_it(shard: Callable[[Written], Path], tmp_path: Path) -> None:
    path = tmp_path / "shards[1]{2}.tar"
    shard([{"__key__": "a", "cls": 5}]).rename(path)
    write_index(path)
    assert int(samples_of(path)[0]["label"]) == 5
