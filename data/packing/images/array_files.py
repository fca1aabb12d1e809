"""Files that hold arrays of images -> `ArrayPart`s by name. Nothing is unpickled."""

from __future__ import annotations

import gzip
import math
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from data.packing.images.arrays import ArrayPart, array_part
from data.packing.images.options import ImagePackOptions

Array = NDArray[np.generic]

_IDX_IMAGES = re.compile(r".*images.*idx3-ubyte(\.gz)?")
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def idx_image_files(root: Path) -> dict[str, Path]:
    """Files of images in the format of MNIST, by name without .gz; a plain file goes before its .gz."""
    found: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        if _IDX_IMAGES.fullmatch(path.name):
            found.setdefault(path.name.removesuffix(".gz"), path)
    return found


def load_idx(root: Path) -> dict[str, ArrayPart]:
    """The pairs of idx files in a folder."""
    parts = {}
    for name, path in idx_image_files(root).items():
        stem = name.replace("images", "labels").replace("idx3", "idx1")
        labels = next((root / file for file in (stem, f"{stem}.gz") if (root / file).is_file()), None)
        if labels is None:
            raise DataError(f"{path}: expected its labels beside it, in {stem} or {stem}.gz.")
        parts[name] = array_part(read_idx(path), read_idx(labels), str(path))
    return parts


def read_idx(path: Path) -> Array:
    """The array of an idx file (LeCun et al., MNIST): 0, 0, type, dimensions, sizes, values in C order, big endian.

    Raises:
        DataError: when it is damaged or none.
    """
    content = _content(path)
    dimensions = content[3] if len(content) > 4 else 0
    if content[:2] != b"\0\0" or content[2] not in _IDX_TYPES or not dimensions:
        raise DataError(f"{path}: not an idx file: begins with {content[:4].hex(' ')}.")
    dtype = np.dtype(_IDX_TYPES[content[2]])
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(dimensions)]
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise DataError(f"{path}: {len(content)} bytes, expected {expected} for the shape {shape}. Is it complete?")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def load_npy(options: ImagePackOptions, path: Path) -> dict[str, ArrayPart]:
    """One array, mapped and not read; its labels are in the file named by the option `labels`."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        labels = np.load(path.parent / options.labels, allow_pickle=False) if options.labels else None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as .npy: {error}") from None
    return {path.stem: array_part(images, labels, str(path))}


def load_npz(options: ImagePackOptions, path: Path) -> dict[str, ArrayPart]:
    """The arrays of images in an .npz, and the labels that go with each."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as .npz: {error}") from None
    names = [options.images] if options.images else [name for name in arrays if arrays[name].ndim in (3, 4)]
    for name in [*names, *filter(None, [options.labels])]:
        if name not in arrays:
            raise DataError(f"{path}: no array {name!r}; it has {', '.join(sorted(arrays))}.")
    if not names or (options.labels and len(names) > 1):
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in sorted(arrays.items()))
        raise DataError(f"{path}: which array holds the images? It has {shapes}. Name it by --images.")
    parts = {}
    for name in names:
        labels = options.labels or _labels_of(name, arrays)
        parts[name] = array_part(arrays[name], arrays[labels] if labels else None, f"{path}, {name}")
    return parts


def _labels_of(images: str, arrays: dict[str, Array]) -> str | None:
    """The array named like the images: train_images and train_labels, x_train and y_train, X and y."""
    candidates = (images.replace("images", "labels"), re.sub("^[xX]", "y", images), "labels", "label", "y")
    others = [name for name in candidates if name != images and name in arrays]
    return others[0] if others else None


def load_csv(options: ImagePackOptions, path: Path) -> dict[str, ArrayPart]:
    """One image a row: pixels and a label. Values in [0, 1] throughout are fractions, others must be bytes."""
    header, values = _csv(path)
    column = _label_column(options.label_column, header, values.shape[1], path)
    pixels = values if column is None else np.delete(values, column, axis=1)
    if not (pixels.min() >= 0 and pixels.max() <= 255):
        raise DataError(f"{path}: pixels from {pixels.min():g} to {pixels.max():g}, expected them in [0, 255].")
    if pixels.max() > 1:
        if not np.array_equal(pixels, np.round(pixels)):
            raise DataError(f"{path}: pixels above 1 that are not whole numbers; expected bytes, or values in [0, 1].")
        pixels = pixels.astype(np.uint8)
    images = pixels.reshape(-1, *_shape(options, pixels.shape[1], path))
    labels = None if column is None else values[:, column]
    return {path.name: array_part(images, labels, str(path))}


def _csv(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """The names of the columns (empty without a header) and the rows."""
    lines = _content(path).decode("utf-8", errors="replace").splitlines()
    first = [cell.strip().strip('"') for cell in lines[0].split(",")] if lines else []
    has_header = any(not _is_number(cell) for cell in first)
    if len(lines) <= has_header:
        raise DataError(f"{path}: no rows.")
    try:
        values = np.loadtxt(lines[has_header:], dtype=np.float32, delimiter=",", ndmin=2)
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as a table of numbers: {error}") from None
    return (first if has_header else []), values


def _label_column(name: str, header: list[str], columns: int, path: Path) -> int | None:
    if name == "none":
        return None
    if name in header:
        return header.index(name)
    try:
        number = int(name)
    except ValueError:
        number = columns
    if not -columns <= number < columns:
        known = f"a name ({', '.join(header[:3])}, ...) or " if header else ""
        raise DataError(f"{path}: no column '{name}' (--label-column). Expected {known}a number below {columns}.")
    return number % columns


def _shape(options: ImagePackOptions, pixels: int, path: Path) -> tuple[int, int]:
    """Height and width."""
    height, width = options.height, options.width
    if height is None and width is None:
        height = width = math.isqrt(pixels)
    height = height or pixels // (width or 1)
    width = width or pixels // height
    if height * width != pixels:
        raise DataError(f"{path}: {pixels} pixels a row are not {height} x {width}. Set --height and --width.")
    return height, width


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
