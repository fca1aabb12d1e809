from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.errors import DataError
from data.images.decode import decode_image
from data.packing.images.options import ImagePackOptions
from data.packing.images.packer import ImagePacker

GRINNING, GRIN, NAMELESS, HEART = 0x1F600, 0x1F601, 0xE000, 0x2764


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGBA", (4, 3), (value, 0, 0, 255)).save(stream, format="PNG")
    return stream.getvalue()


def bitmap_font(index_format: int = 1, image_format: int = 17) -> bytes:
    """A font of glyphs 1..4 (glyph 3 has no bitmap), by the OpenType specification; two strikes, the larger second."""
    glyphs = [png(10), png(20), b"", png(40)]
    metrics = bytes({17: 5, 18: 8, 19: 0}[image_format])
    blocks = [metrics + struct.pack(">I", len(glyph)) + glyph if glyph else b"" for glyph in glyphs]
    if index_format == 3:
        blocks = [block + bytes(len(block) % 2) for block in blocks]
    ends = np.cumsum([0, *map(len, blocks)]).tolist()
    cbdt = struct.pack(">HH", 3, 0) + b"".join(blocks)
    offsets = struct.pack(f">5{'I' if index_format == 1 else 'H'}", *ends)
    subtable = struct.pack(">HHI", index_format, image_format, 4) + offsets
    array = struct.pack(">HHI", 1, 4, 8) + subtable
    small = struct.pack(">IIII", 8 + 96 + len(array), 0, 0, 0) + bytes(24) + struct.pack(">HHBBBb", 1, 4, 20, 20, 32, 1)
    large = struct.pack(">IIII", 8 + 96, len(array), 1, 0) + bytes(24) + struct.pack(">HHBBBb", 1, 4, 109, 109, 32, 1)
    cblc = struct.pack(">HHI", 3, 0, 2) + small + large + array
    groups = [(HEART, HEART, 4), (NAMELESS, NAMELESS, 2), (GRINNING, GRINNING + 2, 1)]
    subtable12 = struct.pack(">HHIII", 12, 0, 16 + 12 * len(groups), 0, len(groups))
    subtable12 += b"".join(struct.pack(">III", *group) for group in groups)
    cmap = struct.pack(">HH", 0, 2) + struct.pack(">HHI", 0, 5, 20) + struct.pack(">HHI", 3, 10, 30)
    cmap += struct.pack(">HIHHH", 14, 10, 0, 0, 0)[:10] + subtable12
    tables = {b"CBDT": cbdt, b"CBLC": cblc, b"cmap": cmap}
    font, body = struct.pack(">IHHHH", 0x00010000, len(tables), 0, 0, 0), b""
    for tag, content in tables.items():
        font += struct.pack(">4sIII", tag, 0, 12 + 16 * len(tables) + len(body), len(content))
        body += content
    return font + body


def packer(path: Path) -> ImagePacker:
    return ImagePacker(ImagePackOptions(corpus=str(path)), path)


@pytest.mark.parametrize(("index_format", "image_format"), [(1, 17), (1, 18), (3, 19), (3, 17)])
def test_named_characters_come_with_their_names(index_format: int, image_format: int, tmp_path: Path) -> None:
    path = tmp_path / "emoji.ttf"
    path.write_bytes(bitmap_font(index_format, image_format))
    made = packer(path)
    found = {item.name: dict(made.encode(item).members) for item in made.items()}
    assert found == {
        "002764": {"png": png(40), "txt": "heavy black heart"},
        "01f600": {"png": png(10), "txt": "grinning face"},
        "01f601": {"png": png(20), "txt": "grinning face with smiling eyes"},
    }
    assert decode_image(png(10)).shape == (3, 4, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bitmap_font().replace(b"CBLC", b"glyf"), "no table 'CBLC'; expected a colour bitmap font"),
        (bitmap_font()[:-30], "cannot be read as a colour bitmap font"),
        (bitmap_font().replace(struct.pack(">HHI", 1, 17, 4), struct.pack(">HHI", 2, 17, 4)), "index format 2"),
        (b"", "cannot be read as a colour bitmap font"),
    ],
)
def test_other_fonts_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.ttf: .*{message}"):
        list(packer(tmp_path / "a.ttf").items())
