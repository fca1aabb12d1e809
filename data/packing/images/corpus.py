"""`ImageCorpus`: where images come from; the splits that a corpus brings along."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from configs.errors import DataError
from data.packing.record import Item, Member

PlaceT = TypeVar("PlaceT")

_TAGS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "t10k": "test",
}


@dataclass(frozen=True)
class RawImage:
    """An image that is not checked yet."""

    content: bytes | NDArray[np.generic]
    "A file, or the values of [H, W] or [H, W, C]."
    members: Mapping[str, Member] = field(default_factory=dict)
    "What belongs to it: cls, txt, json."


class ImageCorpus(ABC, Generic[PlaceT]):
    """Lists images cheaply and reads one of them."""

    @abstractmethod
    def items(self) -> Iterator[Item[PlaceT]]:
        """Every image, in a fixed order.

        Raises:
            DataError: when the corpus is not what it seemed to be.
        """

    @abstractmethod
    def read(self, place: PlaceT) -> RawImage:
        """The image at `place`.

        Raises:
            ValueError, OSError: when it cannot be read; a short reason.
        """

    @abstractmethod
    def where(self, place: PlaceT) -> str:
        """What a message should call it."""

    @abstractmethod
    def facts(self) -> dict[str, JsonValue]:
        """Class names and the like."""


def tag_of(name: str) -> str | None:
    """'train', 'validation' or 'test' where one word of the name says so, such as in train_images or t10k-images."""
    tags = {_TAGS[word] for word in re.split(r"[^a-z0-9]+", name.lower()) if word in _TAGS}
    return tags.pop() if len(tags) == 1 else None


def own_splits(tags: Mapping[str, str | None], where: str) -> dict[str, str | None]:
    """The split of every part of a corpus, given what their names say (`tag_of`).

    A corpus has splits of its own when it has a train part and a held-out one: the validation part, or
    the test part where there is none. A test part beside a validation part is left out, so that it stays
    unseen. A corpus without splits gives None for every part: a hash decides.

    Raises:
        DataError: when some parts say which split they are and others do not.
    """
    found = set(tags.values())
    if "train" not in found or not found & {"validation", "test"}:
        return dict.fromkeys(tags)
    unclear = sorted(name for name, tag in tags.items() if tag is None)
    if unclear:
        raise DataError(
            f"{where}: has train and held-out parts, and {unclear[0]!r} which is neither. "
            "Move it into one of them, or pass --splits hash to ignore them."
        )
    held_out = "validation" if "validation" in found else "test"
    names = {"train": "train", held_out: "validation"}
    return {name: names[tag] for name, tag in tags.items() if tag in names}
