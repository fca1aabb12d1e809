"""`Item`, `Record`, `Packer`: what a corpus of any modality gives to the packing driver.

A packer lists items cheaply and in a fixed order; encoding one reads, checks and converts it. The
driver (`data.packing.driver`) does the rest: splits, worker processes, shards, index, restart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

Member = bytes | NDArray[np.generic] | JsonValue
"One file of a sample: bytes as they are, arrays as .npy, anything else as JSON or (str, int) as text."

ContentT = TypeVar("ContentT")


@dataclass(frozen=True)
class Item(Generic[ContentT]):
    """One example that is not read yet. Travels to a worker process: keep `content` small and picklable."""

    name: str
    "What a person would call it (a path in the folder, a row of a file); unique in the corpus."
    group: str
    "Items of one group never fall on both sides of a train/validation split."
    content: ContentT
    "Whatever `encode` needs to read it: a path, a row, a byte range."
    split: str | None = None
    "'train' or 'validation' where the data set itself says so; else a hash of the group decides."


@dataclass(frozen=True)
class Record:
    """One sample as it is written: webdataset members by extension."""

    members: Mapping[str, Member]
    "Such as {'jpg': bytes, 'cls': 3, 'json': {...}}; NAME.npy is decoded as the field NAME."
    length: int = 0
    "Its length where that matters: tokens of a text, frames of a recording, rows of a table."


class Packer(ABC, Generic[ContentT]):
    """A corpus that can be packed. Built as `construct(options, location)`.

    It is sent to worker processes after `prepare`: what it holds must pickle.
    """

    def prepare(self, folder: Path) -> None:
        """What must be known before the first item can be encoded (train a tokenizer, collect categories).

        What is written into `folder` is packed along, and is there again after an interruption.
        """

    @abstractmethod
    def items(self) -> Iterator[Item[ContentT]]:
        """Every item, in an order that depends on nothing but the corpus.

        Raises:
            DataError: when the corpus is missing, or is not what the options say.
        """

    @abstractmethod
    def encode(self, item: Item[ContentT]) -> Record:
        """Read, check and convert one item: a pure function, called in worker processes.

        Raises:
            SampleError: naming the file, when this item is damaged. The driver stops, or counts and
                skips it where the user allowed that.
        """

    def files(self) -> Mapping[str, bytes]:
        """Files to lie beside the shards (the schema of a table, class names), by name."""
        return {}

    def facts(self) -> Mapping[str, JsonValue]:
        """What corpus.json should say of the corpus as a whole (class names, sample rate, columns)."""
        return {}
