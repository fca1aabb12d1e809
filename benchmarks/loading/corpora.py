"""The shards that every loader reads: plain webdataset tars, written by webdataset's own writer.

Photo-like images are sums of smooth noise over octaves with a little grain, so that JPEG finds in them about what it
finds in photographs; 64 of them are repeated.
"""

from __future__ import annotations

import io
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from numpy.typing import NDArray
from PIL import Image

from data.arrays import ArrayReader
from data.images.decode import decode_image
from data.index import write_index

NUM_IMAGES = 64
TEXT_BYTES = 2048


@dataclass(frozen=True)
class Field:
    """A field of a batch: the member that it is decoded from, and how, on every side."""

    extension: str
    decode: Callable[[bytes], Any]
    builtin: str = ""
    "The entry of `fields` of our source that decodes it in the same way; empty where `decode` is applied to raw bytes."


@dataclass(frozen=True)
class Corpus:
    """Shards, and what a batch of them holds."""

    name: str
    folder: Path
    shards: tuple[Path, ...]
    num_samples: int
    fields: dict[str, Field]
    payload: str
    "The member whose bytes are counted."
    payload_bytes: int
    index_seconds: float
    "How long it took to index the shards."

    @property
    def sample_bytes(self) -> float:
        """Mean size of the payload."""
        return self.payload_bytes / self.num_samples


Members = dict[str, bytes]


def write_corpus(
    name: str, folder: Path, samples: Iterator[Members], shard_sizes: Sequence[int], fields: dict[str, Field]
) -> Corpus:
    """Write and index shards of `shard_sizes` samples; the payload is the first field's member."""
    folder.mkdir(parents=True)
    payload = next(iter(fields.values())).extension
    shards: list[Path] = []
    total, indexing = 0, 0.0
    numbers = itertools.count()
    for number, size in enumerate(shard_sizes):
        path = folder / f"shard-{number:06d}.tar"
        with webdataset.TarWriter(str(path), encoder=False) as writer:
            for members in itertools.islice(samples, size):
                total += len(members[payload])
                writer.write({"__key__": f"{next(numbers):08d}", **members})
        started = time.perf_counter()
        write_index(path)
        indexing += time.perf_counter() - started
        shards.append(path)
    return Corpus(name, folder, tuple(shards), sum(shard_sizes), fields, payload, total, indexing)


def payloads(folder: Path, size: int, num_samples: int, num_shards: int) -> Corpus:
    """Random bytes (`bin`) and a number of two digits (`cls`)."""
    generator = np.random.default_rng(0)
    samples = ({"bin": generator.bytes(size), "cls": b"%02d" % (number % 100)} for number in range(num_samples))
    fields = {"bin": Field("bin", as_bytes, "bin:raw"), "label": Field("cls", int, "cls")}
    name = f"{size / 1000:g} KB" if size >= 1000 else f"{size} B"
    return write_corpus(name, folder, samples, evenly(num_samples, num_shards), fields)


def images(folder: Path, side: int, quality: int, num_samples: int, num_shards: int) -> Corpus:
    """Photo-like JPEGs (`jpg`) of side x side pixels, and a label (`cls`)."""
    encoded = [photo_like(seed, side, quality) for seed in range(min(NUM_IMAGES, num_samples))]
    samples = ({"jpg": encoded[n % len(encoded)], "cls": b"%d" % (n % 1000)} for n in range(num_samples))
    fields = {"image": Field("jpg", decode_image, "jpg"), "label": Field("cls", int, "cls")}
    mean = sum(map(len, encoded)) / len(encoded) / 1000
    name = f"JPEG {side}x{side}, {mean:.0f} KB"
    return write_corpus(name, folder, samples, evenly(num_samples, num_shards), fields)


def texts(folder: Path, num_samples: int, num_shards: int) -> Corpus:
    """JSON documents of 2 KB of text."""
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz      \n", dtype=np.uint8)
    generator = np.random.default_rng(0)
    drawn = (generator.choice(letters, TEXT_BYTES).tobytes().decode() for _ in range(num_samples))
    samples = ({"json": json.dumps({"text": text, "id": n}).encode()} for n, text in enumerate(drawn))
    return write_corpus(
        "JSON, 2 KB of text", folder, samples, evenly(num_samples, num_shards), {"text": Field("json", text_bytes)}
    )


def tokens(folder: Path, num_samples: int, num_shards: int) -> Corpus:
    """Arrays of 1,024 uint16 tokens (`npy`)."""
    generator = np.random.default_rng(0)
    arrays = (generator.integers(0, 50_000, 1024, dtype=np.uint16) for _ in range(num_samples))
    fields = {"tokens": Field("npy", ArrayReader(), "npy")}
    samples = ({"npy": _npy(array)} for array in arrays)
    return write_corpus("npy, 1,024 tokens", folder, samples, evenly(num_samples, num_shards), fields)


def numbered(folder: Path, shard_sizes: Sequence[int]) -> Corpus:
    """Samples that say which they are (`id`), and nothing else."""
    samples = ({"id": b"%d" % number} for number in range(sum(shard_sizes)))
    return write_corpus("numbered", folder, samples, shard_sizes, {"id": Field("id", int, "id")})


def evenly(num_samples: int, num_shards: int) -> list[int]:
    """Sizes of shards that differ by at most one."""
    return [len(part) for part in np.array_split(np.arange(num_samples), num_shards)]


def photo_like(seed: int, side: int, quality: int) -> bytes:
    """A JPEG of smooth noise whose amplitude falls with frequency, and grain."""
    generator = np.random.default_rng(seed)
    picture = np.zeros((side, side, 3), dtype=np.float32)
    cells = 4
    while cells <= side:
        noise = generator.uniform(0, 255, (cells, cells, 3)).astype(np.uint8)
        smooth = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
        picture += np.asarray(smooth, dtype=np.float32) * (2.0 / cells)
        cells *= 2
    picture += generator.normal(0, 8, picture.shape).astype(np.float32)
    low, high = picture.min(), picture.max()
    stream = io.BytesIO()
    Image.fromarray(((picture - low) * (255 / (high - low))).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def as_bytes(content: bytes) -> NDArray[np.uint8]:
    """The bytes as an array."""
    return np.frombuffer(content, dtype=np.uint8)


def text_bytes(content: bytes) -> NDArray[np.uint8]:
    """The text of a JSON document as UTF-8 bytes: the simplest tokenizer there is."""
    return np.frombuffer(json.loads(content)["text"].encode(), dtype=np.uint8)


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
