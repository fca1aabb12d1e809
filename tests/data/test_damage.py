"""Damaged data, as users meet it: what is named, what goes on, what stops."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import webdataset
from PIL import Image

from configs.errors import DataError
from data.batches import BatchPlan
from data.index import index_path, open_index, write_index
from data.loader import StepBatch, TrainLoader
from data.sources import AnySource, SamplesOptions, build_source

Write = Callable[[list[dict[str, Any]]], Path]


def jpeg(value: int) -> bytes:
    stream = io.BytesIO()
    random = np.random.default_rng(value)
    Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def wav(samples: int, value: int = 0) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.random.default_rng(value).normal(size=samples) * 0.1, 8000, format="WAV")
    return stream.getvalue()


@pytest.fixture
def shard(fresh: Callable[[str], Path]) -> Write:
    def write(samples: list[dict[str, Any]]) -> Path:
        path = fresh("shard.tar")
        with webdataset.TarWriter(str(path)) as writer:
            for number, sample in enumerate(samples):
                writer.write({"__key__": f"{number:04d}", **sample})
        write_index(path)
        return path

    return write


def load(options: AnySource, *, workers: int = 0, bad_samples: int = 100, stop: int = 2) -> list[StepBatch]:
    source = build_source(options)
    plan = BatchPlan(global_rows=8, micro_rows=4, rank=0, world_size=1)
    loading = TrainLoader(
        source, seed=0, plan=plan, start=0, stop=stop, workers=workers, prefetch=1, bad_samples=bad_samples
    )
    try:
        return list(loading)
    finally:
        loading.close()


def reported(steps: list[StepBatch]) -> list[str]:
    return [bad.error for step in steps for bad in step.bad]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damaged", [b"this is no picture", b"", jpeg(3)[:200], jpeg(3)[:-60]])
def test_wrong_bytes_of_an_image_are_named_and_the_run_goes_on(damaged: bytes, workers: int, shard: Write) -> None:
    path = shard([{"jpg": damaged if number == 5 else jpeg(number)} for number in range(16)])
    steps = load(SamplesOptions(shards=[str(path)]), workers=workers)
    errors = reported(steps)
    assert [error.startswith(f"{path}, sample '0005': jpg: ") for error in errors] == [True]
    assert all(micro["image"].shape == (4, 32, 32, 3) for step in steps for micro in step.micro_batches)


def test_a_recording_without_a_sample_is_named(shard: Write) -> None:
    path = shard([{"wav": wav(0 if number == 2 else 800, number)} for number in range(16)])
    (error,) = reported(load(SamplesOptions(shards=[str(path)])))
    assert error.startswith(f"{path}, sample '0002': wav: ")


def test_a_recording_too_short_for_a_transform_is_named(shard: Write) -> None:
    path = shard([{"wav": wav(10 if number == 2 else 800, number)} for number in range(16)])
    options = SamplesOptions.model_validate(
        {"shards": [str(path)], "transforms": [{"kind": "crop_audio", "samples": 400, "shorter": "refuse"}]}
    )
    (error,) = reported(load(options))
    assert error.startswith(f"{path}, sample '0002': transform crop_audio: ")


def test_a_missing_member_is_named(shard: Write) -> None:
    path = shard([{"txt": "t"} if number == 9 else {"txt": "t", "cls": number} for number in range(16)])
    (error,) = reported(load(SamplesOptions(shards=[str(path)], fields={"label": "cls"})))
    assert error == f"{path}, sample '0009': has no member cls"


def test_bytes_changed_on_disk_are_found_by_verification(shard: Write) -> None:
    path = shard([{"cls": number} for number in range(16)])
    index = open_index(path)
    index.verify_shard()
    with path.open("rb+") as file:
        file.seek(int(index.offsets[7, 0]))
        file.write(b"9")
    with pytest.raises(DataError, match=r"was changed\s+or damaged after it was indexed"):
        open_index(path).verify_shard()


def test_a_truncated_shard_is_refused_at_the_start(shard: Write) -> None:
    path = shard([{"cls": number} for number in range(16)])
    os.truncate(path, path.stat().st_size - 10240)
    with pytest.raises(DataError, match=f"{path}: .* truncated or replaced"):
        build_source(SamplesOptions(shards=[str(path)]))
    index_path(path).unlink()
    with pytest.raises(DataError, match=rf"{path}: .*(truncated|cannot be indexed)"):
        write_index(path)


def test_the_index_of_another_shard_of_the_same_size_is_refused(shard: Write, tmp_path: Path) -> None:
    one = shard([{"cls": number} for number in range(16)])
    with webdataset.TarWriter(str(tmp_path / "other.tar")) as writer:
        for number in range(16):
            writer.write({"__key__": f"x{number:03d}", "cls": number})
    assert (tmp_path / "other.tar").stat().st_size == one.stat().st_size
    shutil.copy(tmp_path / "other.tar", one)
    with pytest.raises(DataError, match=r"'0000\.cls' is not where the index says, but 'x000\.cls'"):
        build_source(SamplesOptions(shards=[str(one)]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_disappears_in_mid_run_is_named_and_too_much_is_too_much(workers: int, shard: Write) -> None:
    shards = [shard([{"cls": number} for number in range(1000)]) for _ in range(2)]
    source = build_source(SamplesOptions(shards=[str(path) for path in shards]))
    shards[1].unlink()  # its index is open, its file is not
    plan = BatchPlan(global_rows=8, micro_rows=8, rank=0, world_size=1)
    loading = TrainLoader(source, seed=0, plan=plan, start=0, stop=100, workers=workers, prefetch=1, bad_samples=20)
    with pytest.raises(DataError, match=f"{shards[1]}: cannot read") as caught:
        list(loading)
    loading.close()
    assert "Traceback" not in str(caught.value)


def test_a_shard_that_disappears_while_it_is_open_is_read_to_its_end(shard: Write) -> None:
    path = shard([{"cls": number} for number in range(64)])
    source = build_source(SamplesOptions(shards=[str(path)]))
    source[0]
    path.unlink()
    assert [int(source[index]["label"]) for index in range(64)] == list(range(64))


def test_a_shard_that_shrinks_in_mid_run_is_named_with_the_place(shard: Write) -> None:
    path = shard([{"x.npy": np.zeros(1000)} for _ in range(16)])
    source = build_source(SamplesOptions(shards=[str(path)]))
    source[0]
    os.truncate(path, 20_000)
    with pytest.raises(DataError, match=rf"{path}: ends early: \d+ of 8128 bytes at \d+"):
        source[15]
