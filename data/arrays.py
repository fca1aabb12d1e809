""".npy files -> arrays, quickly and without unpickling."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

_HEADERS_KEPT = 1024


class ArrayReader:
    """.npy files -> arrays, as views of the bytes read; never unpickles.

    numpy takes 25 us to parse the text of a header, and most files of a corpus have the same: each is parsed once.
    """

    def __init__(self) -> None:
        self._headers: dict[bytes, tuple[tuple[int, ...], bool, np.dtype[Any]]] = {}

    def __call__(self, content: bytes | memoryview) -> np.ndarray:
        """The array of an .npy file; read-only.

        Raises:
            ValueError: when it is none, is cut short, or holds Python objects.
        """
        start = _header_size(content)
        header = bytes(content[:start])
        found = self._headers.get(header)
        if found is None:
            found = _parsed(header)
            if len(self._headers) < _HEADERS_KEPT:
                self._headers[header] = found
        shape, is_fortran, dtype = found
        count = math.prod(shape)
        if len(content) != start + count * dtype.itemsize:
            raise ValueError(
                f"{len(content) - start} bytes of data, {list(shape)} {dtype} takes {count * dtype.itemsize}"
            )
        array: np.ndarray = np.frombuffer(content, dtype, count, start).reshape(shape, order="F" if is_fortran else "C")
        return array


def _header_size(content: bytes | memoryview) -> int:
    """Bytes before the data (NEP 1): magic, version, length of the text, text."""
    if bytes(content[:6]) != b"\x93NUMPY" or len(content) < 12:
        raise ValueError("not an .npy file")
    width = 2 if content[6] == 1 else 4
    return 8 + width + int.from_bytes(content[8 : 8 + width], "little")


def _parsed(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    stream = io.BytesIO(header)
    try:
        version = np.lib.format.read_magic(stream)
        parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = parse(stream)
    except Exception as error:  # numpy parses the text with Python's tokenizer, which raises what it likes
        raise ValueError(f"a damaged .npy header: {error}") from None
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded: they would be unpickled")
    return shape, is_fortran, dtype
