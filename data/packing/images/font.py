"""Colour bitmap fonts as captioned images: the glyphs of named characters (tables CBLC and CBDT of OpenType).

Read are the formats that colour bitmap fonts have (Noto Color Emoji): a cmap of format 12, indexes of
format 1 or 3, PNG glyphs of format 17, 18 or 19. The largest strike is taken.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue

from configs.errors import DataError
from data.packing.images.corpus import ImageCorpus, RawImage
from data.packing.record import Item

# Bytes of metrics before the length and the PNG, by image format.
_METRICS = {17: 5, 18: 8, 19: 0}
_OFFSET_TYPES = {1: "I", 3: "H"}


class BitmapFont(ImageCorpus[int]):
    """Characters that have a bitmap and a Unicode name, by code point; the name in lower case is the caption."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def items(self) -> Iterator[Item[int]]:
        """One for each character."""
        for code in sorted(self._glyphs):
            if unicodedata.name(chr(code), ""):
                name = f"{code:06x}"
                yield Item(name, name, code)

    def read(self, place: int) -> RawImage:
        """The PNG of a character, and its caption."""
        return RawImage(self._content[self._glyphs[place]], {"txt": unicodedata.name(chr(place)).lower()})

    def where(self, place: int) -> str:
        """The font and the character."""
        return f"{self._path}, U+{place:04X}"

    def facts(self) -> dict[str, JsonValue]:
        """None."""
        return {}

    @cached_property
    def _content(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise DataError(f"{self._path}: cannot be read: {error}") from None

    @cached_property
    def _glyphs(self) -> dict[int, slice]:
        """Code point -> where in the file its PNG is."""
        try:
            tables = _tables(self._content)
            bitmaps = dict(_bitmaps(self._content, tables["CBLC"], tables["CBDT"]))
            characters = dict(_characters(self._content, tables["cmap"]))
        except KeyError as error:
            raise DataError(f"{self._path}: no table {error}; expected a colour bitmap font (CBDT).") from None
        except (struct.error, IndexError, ValueError) as error:
            raise DataError(f"{self._path}: cannot be read as a colour bitmap font: {error}") from None
        return {code: bitmaps[glyph] for code, glyph in characters.items() if glyph in bitmaps}


def _tables(font: bytes) -> dict[str, int]:
    """The offset of every table."""
    (number,) = struct.unpack_from(">H", font, 4)
    records = (struct.unpack_from(">4sIII", font, 12 + 16 * index) for index in range(number))
    return {tag.decode("latin-1").strip(): offset for tag, _, offset, _ in records}


def _characters(font: bytes, cmap: int) -> Iterator[tuple[int, int]]:
    """(code point, glyph) of the subtable of format 12."""
    (number,) = struct.unpack_from(">H", font, cmap + 2)
    for index in range(number):
        subtable = cmap + struct.unpack_from(">HHI", font, cmap + 4 + 8 * index)[2]
        if struct.unpack_from(">H", font, subtable)[0] == 12:
            for group in range(struct.unpack_from(">I", font, subtable + 12)[0]):
                first, last, glyph = struct.unpack_from(">III", font, subtable + 16 + 12 * group)
                if not first <= last < 0x110000:
                    raise ValueError(f"characters {first:#x} to {last:#x}")
                yield from ((code, glyph + code - first) for code in range(first, last + 1))
            return
    raise ValueError("no cmap of format 12")


def _bitmaps(font: bytes, cblc: int, cbdt: int) -> Iterator[tuple[int, slice]]:
    """(glyph, where its PNG is) of the largest strike."""
    (number,) = struct.unpack_from(">I", font, cblc + 4)
    strikes = [cblc + 8 + 48 * index for index in range(number)]
    strike = max(strikes, key=lambda offset: font[offset + 45])  # ppem, vertical
    ranges, _, num_ranges = struct.unpack_from(">III", font, strike)
    for index in range(num_ranges):
        first, last, offset = struct.unpack_from(">HHI", font, cblc + ranges + 8 * index)
        subtable = cblc + ranges + offset
        index_format, image_format, data = struct.unpack_from(">HHI", font, subtable)
        if index_format not in _OFFSET_TYPES or image_format not in _METRICS:
            raise ValueError(f"glyphs of index format {index_format} and image format {image_format}")
        offsets = struct.unpack_from(f">{last - first + 2}{_OFFSET_TYPES[index_format]}", font, subtable + 8)
        for glyph, start, end in zip(range(first, last + 1), offsets[:-1], offsets[1:], strict=True):
            if end > start:
                png = cbdt + data + start + _METRICS[image_format]
                yield glyph, slice(png + 4, png + 4 + struct.unpack_from(">I", font, png)[0])
