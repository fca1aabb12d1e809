"""Images in arrays: idx files (MNIST), .npz, .npy, .csv[.gz]. Written without loss, as png, unless asked otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from configs.errors import DataError
from data.packing.images.corpus import ImageCorpus, RawImage, own_splits, tag_of
from data.packing.images.options import ImagePackOptions
from data.packing.record import Item

RowPlace = tuple[str, int]
"The name of the part, and the row."


@dataclass(frozen=True)
class ArrayPart:
    """Images, and their labels if there are any."""

    images: NDArray[np.generic]
    "[N, H, W] or [N, H, W, C]."
    labels: NDArray[np.int64] | None
    "[N]."


class ArrayCorpus(ImageCorpus[RowPlace]):
    """The rows of one or several arrays, which every process loads once, when it first needs them."""

    def __init__(self, options: ImagePackOptions, where: str, load: Callable[[], Mapping[str, ArrayPart]]) -> None:
        self._options = options
        self._where = where
        self._load = load

    def items(self) -> Iterator[Item[RowPlace]]:
        """One for each row."""
        for part, split in self._splits.items():
            for row in range(len(self._parts[part].images)):
                name = f"{part}:{row}"
                yield Item(name, name, (part, row), split)

    def read(self, place: RowPlace) -> RawImage:
        """A row and its label."""
        name, row = place
        part = self._parts[name]
        return RawImage(part.images[row], {} if part.labels is None else {"cls": int(part.labels[row])})

    def where(self, place: RowPlace) -> str:
        """The file and the row."""
        return f"{self._where}, {place[0]}, row {place[1]}"

    def facts(self) -> dict[str, JsonValue]:
        """The classes that occur; how many images of which arrays were left out."""
        facts: dict[str, JsonValue] = {}
        labels = [part.labels for name, part in self._parts.items() if part.labels is not None and name in self._splits]
        if labels:
            facts["classes"] = [int(label) for label in np.unique(np.concatenate(labels))]
        unused = sorted(self._parts.keys() - self._splits.keys())
        if unused:
            facts["left_out"] = {name: len(self._parts[name].images) for name in unused}
        return facts

    @cached_property
    def _parts(self) -> dict[str, ArrayPart]:
        return dict(sorted(self._load().items()))

    @cached_property
    def _splits(self) -> dict[str, str | None]:
        if self._options.splits == "hash":
            return dict.fromkeys(self._parts)
        return own_splits({name: tag_of(name) for name in self._parts}, self._where)


def array_part(images: NDArray[np.generic], labels: NDArray[np.generic] | None, where: str) -> ArrayPart:
    """Images and labels that fit together.

    Raises:
        DataError: when they do not.
    """
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3, 4)):
        raise DataError(
            f"{where}: images of shape {list(images.shape)}, expected [number, height, width] or "
            "[number, height, width, channels] with 1, 3 or 4 channels. Transpose or reshape the array."
        )
    if images.dtype.kind not in "buif":
        raise DataError(f"{where}: images of type {images.dtype}, expected numbers.")
    if labels is None:
        return ArrayPart(images, None)
    if labels.shape not in ((len(images),), (len(images), 1)):
        raise DataError(
            f"{where}: labels of shape {list(labels.shape)} for {len(images)} images, expected one for each."
        )
    numbers: NDArray[Any] = labels.reshape(-1)
    if numbers.dtype.kind not in "buif" or not np.all(np.isfinite(numbers) & (numbers == np.round(numbers))):
        raise DataError(f"{where}: labels of type {labels.dtype}, expected whole numbers.")
    return ArrayPart(images, numbers.astype(np.int64))


def as_pixels(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """[H, W, C] uint8 of one image: bytes as they are, booleans as 0 and 255, floats in [0, 1] scaled to 255.

    Raises:
        ValueError: when the values are in no such range.
    """
    pixels = values if values.ndim == 3 else values[:, :, np.newaxis]
    if not pixels.size:
        raise ValueError(f"an image without pixels, of shape {list(values.shape)}")
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels, dtype=np.uint8)
    numbers = pixels.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    is_fraction = pixels.dtype.kind in "bf"
    limit = 1 if is_fraction else 255
    if not (low >= 0 and high <= limit):  # also where they are not numbers
        raise ValueError(f"values of type {values.dtype} from {low:g} to {high:g}, expected them in [0, {limit}]")
    return np.round(numbers * (255 if is_fraction else 1)).astype(np.uint8)
