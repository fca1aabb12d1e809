"""`ImagePacker`: corpora of images -> records of image files, classes, captions.

    a folder              its images (see data.packing.images.folder)
    a folder of idx files train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz], t10k-... (MNIST)
    FILE.npz, FILE.npy    arrays [N, H, W] or [N, H, W, C], and labels
    FILE.csv[.gz]         one image a row: pixels and a label
    FILE.ttf              a colour bitmap font: glyphs and the names of their characters

Members: jpg, png, webp, ... (by what the file is, whatever its name), cls (the number of the class), txt
(a caption), json (what lay beside the image).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from configs.errors import DataError
from data.images.decode import decode_image, open_image
from data.images.encode import Format, encode_image, shrink
from data.packing.images.array_files import idx_image_files, load_csv, load_idx, load_npy, load_npz
from data.packing.images.arrays import ArrayCorpus, as_pixels
from data.packing.images.corpus import ImageCorpus
from data.packing.images.folder import ImageFolder
from data.packing.images.font import BitmapFont
from data.packing.images.options import ImagePackOptions
from data.packing.record import Item, Packer, Record
from data.sample import SampleError

_MEMBERS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "GIF": "gif", "TIFF": "tiff"}


class ImagePacker(Packer[Any]):
    """A corpus of images."""

    def __init__(self, options: ImagePackOptions, location: Path) -> None:
        self._options = options
        self._location = Path(location)
        self._corpus = _corpus(options, self._location)

    def __reduce__(self) -> tuple[type[ImagePacker], tuple[ImagePackOptions, Path]]:
        """Sent to another process without the arrays it has loaded."""
        return type(self), (self._options, self._location)

    def items(self) -> Iterator[Item[Any]]:
        """Every image."""
        return self._corpus.items()

    def encode(self, item: Item[Any]) -> Record:
        """The image, decoded once to see that it can be, and what belongs to it."""
        try:
            raw = self._corpus.read(item.content)
            extension, content = self._file(raw.content)
        except DataError:
            raise
        except (ValueError, OSError) as error:
            raise SampleError(f"{self._corpus.where(item.content)}: {error}") from None
        return Record({extension: content, **raw.members})

    def facts(self) -> Mapping[str, JsonValue]:
        """`class_names` in the order of their numbers, or `classes` that occur; `left_out` parts."""
        return self._corpus.facts()

    def _file(self, image: bytes | NDArray[np.generic]) -> tuple[str, bytes]:
        """The extension and content of the file that is written."""
        extension, limit = "png", self._options.max_size
        if isinstance(image, bytes):
            pixels = decode_image(image, "unchanged")
            extension = _MEMBERS[str(open_image(image).format)]
            if self._options.encode in ("keep", extension) and (limit is None or max(pixels.shape[:2]) <= limit):
                return extension, image
        else:
            pixels = as_pixels(image)
        target = self._target(extension)
        return target, encode_image(shrink(pixels, limit) if limit else pixels, target, quality=self._options.quality)

    def _target(self, extension: str) -> Format:
        """The format of an image that is encoded anew: that asked for, else its own, else png."""
        if self._options.encode != "keep":
            return self._options.encode
        return "jpg" if extension == "jpg" else "webp" if extension == "webp" else "png"


def _corpus(options: ImagePackOptions, location: Path) -> ImageCorpus[Any]:
    name = location.name.lower()
    if location.is_dir():
        if idx_image_files(location):
            return ArrayCorpus(options, str(location), partial(load_idx, location))
        return ImageFolder(options, location)
    if location.is_file():
        if name.endswith(".npz"):
            return ArrayCorpus(options, str(location), partial(load_npz, options, location))
        if name.endswith(".npy"):
            return ArrayCorpus(options, str(location), partial(load_npy, options, location))
        if name.endswith((".csv", ".csv.gz")):
            return ArrayCorpus(options, str(location), partial(load_csv, options, location))
        if name.endswith((".ttf", ".otf")):
            return BitmapFont(location)
    raise DataError(
        f"{location}: {'not' if location.exists() else 'no such'} corpus of images. Expected a folder of images or of "
        "idx files (MNIST), or a .npz, .npy, .csv, .csv.gz or .ttf file."
    )
