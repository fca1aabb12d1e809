from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.images.decode import decode_image


def picture(height: int = 6, width: int = 9, channels: int = 3) -> np.ndarray:
    """Smooth, so that JPEG keeps it; every pixel has its own colour, so that a turned image differs."""
    y, x = np.mgrid[:height, :width]
    planes = [20 * y + 5 * x, 200 - 15 * y, 100 + 8 * x, 255 - 9 * x][:channels]
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
@pytest.mark.parametrize("mode", ["rgb", "unchanged"])
def test_lossless_formats_give_the_pixels_back(kind: str, mode: Any) -> None:
    image = Image.fromarray(picture())
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode_image(encoded(image, kind, **options), mode)
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable
    assert np.array_equal(decoded, picture())


def test_jpeg_gives_nearly_the_pixels_back() -> None:
    decoded = decode_image(encoded(Image.fromarray(picture(40, 56)), "JPEG", quality=95, subsampling=0))
    assert np.abs(decoded.astype(int) - picture(40, 56)).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    # How a stored image must be changed to stand upright (EXIF 2.3, tag 0x0112).
    upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture(16, 24)
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    decoded = decode_image(encoded(Image.fromarray(stored), kind, exif=exif, **options))
    assert decoded.shape == upright(stored).shape
    assert np.abs(decoded.astype(int) - upright(stored)).max() <= 3


def test_unreadable_exif_counts_as_none() -> None:
    content = encoded(Image.fromarray(picture()), "PNG", exif=b"Exif\x00\x00XX\x00*broken")
    assert np.array_equal(decode_image(content), picture())


@pytest.mark.parametrize(
    ("mode", "unchanged", "rgb"),
    [
        ("1", [255], [255, 255, 255]),
        ("L", [90], [90, 90, 90]),
        ("LA", [90, 90, 90, 0], [255, 255, 255]),
        ("P", [10, 20, 30], [10, 20, 30]),
        ("RGBA", [10, 20, 30, 0], [255, 255, 255]),
        ("RGBX", [10, 20, 30], [10, 20, 30]),
        ("CMYK", [10, 20, 30], [10, 20, 30]),
    ],
)
def test_modes_become_one_three_or_four_channels(mode: str, unchanged: list[int], rgb: list[int]) -> None:
    fill: Any = {"1": 1, "L": 90, "LA": (90, 0), "P": 0, "RGBA": (10, 20, 30, 0), "RGBX": (10, 20, 30, 0)}.get(mode)
    image = Image.new(mode, (3, 2), fill if mode != "CMYK" else (245, 235, 225, 0))
    if mode == "P":
        image.putpalette([10, 20, 30] * 256)
    content = encoded(image, "PNG" if mode not in ("CMYK", "RGBX") else "TIFF")
    assert decode_image(content, "unchanged").tolist() == [[unchanged] * 3] * 2
    assert decode_image(content, "rgb").tolist() == [[rgb] * 3] * 2
    assert decode_image(content, "gray").shape == (2, 3, 1)


def test_gray_is_the_luma_of_itu_601() -> None:
    decoded = decode_image(encoded(Image.fromarray(picture()), "PNG"), "gray")[:, :, 0]
    assert np.abs(decoded - picture() @ [0.299, 0.587, 0.114]).max() <= 1


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B")])
def test_sixteen_bits_are_scaled_to_eight(kind: str, mode: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    raw = values.astype(">u2" if mode.endswith("B") else "<u2").tobytes()
    image = Image.frombytes(mode, (6, 1), raw)
    assert decode_image(encoded(image, kind), "unchanged")[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_a_transparent_palette_is_laid_over_white() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    content = encoded(image, "PNG", transparency=0)
    assert decode_image(content, "rgb").tolist() == [[[255, 255, 255], [40, 50, 60]]]
    assert decode_image(content, "unchanged").tolist() == [[[10, 20, 30, 0], [40, 50, 60, 255]]]


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.fromarray(np.full((4, 5, 3), value, dtype=np.uint8)) for value in (40, 200)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(content).tolist() == np.full((4, 5, 3), 40).tolist()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"not an image at all\n", "none of the JPEG, PNG, WebP, BMP, GIF and TIFF files"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "none of the JPEG"),
        (b"\x89PNG\r\n\x1a\n", "not an image"),
    ],
)
def test_what_is_no_image_is_named(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_image(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_truncated_image_is_an_error_and_not_half_an_image(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(ValueError, match=r"damaged|not an image"):
            decode_image(content[: int(len(content) * share)])


def test_a_decompression_bomb_is_refused_before_it_is_unpacked() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    with pytest.raises(ValueError, match=r"pixels"):
        decode_image(bomb)
    with pytest.raises(ValueError, match="9 x 6 pixels, expected at most 53"):
        decode_image(encoded(Image.fromarray(picture()), "PNG"), max_pixels=53)
    assert decode_image(encoded(Image.fromarray(picture()), "PNG"), max_pixels=54).shape == (6, 9, 3)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_without_a_range_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="whose range is not defined"):
        decode_image(encoded(Image.new(mode, (2, 2)), "TIFF"))


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6),
    kept=st.floats(0.05, 1),
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damage_gives_a_short_reason_or_an_image(kind: str, changes: list[tuple[float, int]], kept: float) -> None:
    content = bytearray(encoded(Image.fromarray(picture(24, 31)), kind))
    for place, value in changes:
        content[int(place * len(content))] = value
    outcome = _decoded_or_reason(bytes(content[: int(kept * len(content))]))
    if isinstance(outcome, str):
        assert 0 < len(outcome) < 200
        assert "\n" not in outcome
    else:
        assert outcome.dtype == np.uint8
        assert outcome.shape[2] == 3


def _decoded_or_reason(content: bytes) -> np.ndarray | str:
    try:
        return decode_image(content, max_pixels=10**6)
    except ValueError as error:
        return str(error)
