"""A tiny packed corpus, and helpers that read and write shards by plain webdataset."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from data.index import write_index
from data.packing.driver import pack
from data.packing.text_options import TextPackOptions

RawSamples = list[dict[str, bytes]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that lives as long as the session; hypothesis examples may write into it."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def fresh(folder: Path) -> Callable[[str], Path]:
    """A path that was not used before, in a folder of its own (a mapped file must never be overwritten)."""
    numbers = itertools.count()

    def make(name: str) -> Path:
        parent = folder / f"{next(numbers):06d}"
        parent.mkdir()
        return parent / name

    return make


@pytest.fixture(scope="session")
def text_folder(folder: Path) -> Path:
    """40 small text files in nested folders, from one line to a few hundred."""
    root = folder / "text"
    for number in range(40):
        path = root / f"part-{number % 3}" / f"{number:02d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"document {number} says line {line}\n" for line in range(1 + number * number // 8)))
    return root


@pytest.fixture(scope="session")
def pack_options(text_folder: Path) -> TextPackOptions:
    """Small enough shards that the train split has several."""
    return TextPackOptions(corpus=str(text_folder), vocab_size=300, validation=0.2, shard_mb=0.02)


@pytest.fixture(scope="session")
def packed(pack_options: TextPackOptions, folder: Path) -> Path:
    """The packed corpus. Read only."""
    pack(pack_options, folder / "packed")
    return folder / "packed"


@pytest.fixture(scope="session")
def read_plainly() -> Callable[[Path], RawSamples]:
    """The samples of a shard as plain webdataset yields them, undecoded."""
    return lambda path: list(webdataset.WebDataset(str(path), shardshuffle=False))


@pytest.fixture(scope="session")
def token_shard(fresh: Callable[[str], Path]) -> Callable[..., Path]:
    """Writes and indexes a shard with one .npy member per array; None writes a sample without one."""

    def write(arrays: Sequence[np.ndarray | None], dtype: str = "uint16") -> Path:
        path = fresh("tokens.tar")
        with webdataset.TarWriter(str(path)) as writer:
            for number, array in enumerate(arrays):
                sample: dict[str, Any] = {"__key__": f"{number:04d}", "json": {"number": number}}
                writer.write(sample if array is None else sample | {"npy": np.asarray(array, dtype=dtype)})
        write_index(path)
        return path

    return write


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `__del__` methods and threads failed with; Python would only print it."""
    found: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda event: found.append(repr(event.exc_value)))
    return found
