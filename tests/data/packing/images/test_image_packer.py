"""The packer: what is written, whatever the corpus; which corpus a location is."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.errors import DataError
from configs.options import construct
from data.images.decode import decode_image
from data.packing.images.options import ImagePackOptions
from data.packing.images.packer import ImagePacker
from data.packing.record import Item, Record
from data.sample import SampleError


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind, **options)
    return stream.getvalue()


def packer(location: Path, **options: Any) -> ImagePacker:
    made = construct(ImagePackOptions(corpus=str(location), **options), location)
    assert isinstance(made, ImagePacker)
    return made


def only(location: Path, **options: Any) -> dict[str, Any]:
    """The members of the only image."""
    made = packer(location, **options)
    (item,) = made.items()
    return dict(made.encode(item).members)


@pytest.mark.parametrize(
    ("kind", "extension"),
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("BMP", "bmp"), ("GIF", "gif"), ("TIFF", "tiff")],
)
def test_files_are_kept_byte_for_byte_under_the_name_of_what_they_are(
    kind: str, extension: str, tmp_path: Path
) -> None:
    content = encoded(noise(8, 9), kind)
    (tmp_path / "picture.JPEG").write_bytes(content)  # whatever it is called
    assert only(tmp_path) == {extension: content}
    assert only(tmp_path, max_size=9) == {extension: content}


@pytest.mark.parametrize("target", ["jpg", "png", "webp"])
def test_another_format_can_be_asked_for(target: str, tmp_path: Path) -> None:
    pixels = np.full((8, 9, 4), (200, 100, 50, 255), dtype=np.uint8)
    (tmp_path / "a.tif").write_bytes(encoded(pixels, "TIFF"))
    ((extension, content),) = only(tmp_path, encode=target).items()
    assert extension == target
    decoded = decode_image(content)
    assert decoded.shape == (8, 9, 3)
    assert np.abs(decoded.astype(int) - pixels[:, :, :3]).max() < 8


def test_a_file_of_the_format_asked_for_is_kept(tmp_path: Path) -> None:
    content = encoded(noise(8, 9), "JPEG", quality=50)
    (tmp_path / "a.jpg").write_bytes(content)
    assert only(tmp_path, encode="jpg") == {"jpg": content}


@pytest.mark.parametrize(("kind", "extension"), [("JPEG", "jpg"), ("WEBP", "webp"), ("BMP", "png")])
def test_large_images_are_scaled_down_and_stand_upright(kind: str, extension: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind == "BMP" else {"exif": exif}
    (tmp_path / "a.jpg").write_bytes(encoded(noise(40, 100), kind, **options))
    ((found, content),) = only(tmp_path, max_size=50).items()
    assert found == extension
    assert decode_image(content).shape == ((20, 50, 3) if kind == "BMP" else (50, 20, 3))


def test_quality_is_heeded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(noise(40, 100), "PNG"))
    sizes = [len(only(tmp_path, encode="jpg", quality=quality)["jpg"]) for quality in (20, 95)]
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpg", b"", "an empty file"),
        ("text.jpg", b"this is a text, renamed\n", "not an image"),
        ("cut.jpg", encoded(noise(64, 64), "JPEG")[:-900], "damaged JPEG image"),
        ("cut.png", encoded(noise(64, 64), "PNG")[:-900], "damaged PNG image"),
    ],
)
def test_damaged_files_are_named(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SampleError, match=reason) as caught:
        only(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / name) + ": ")


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(noise(4, 4), "PNG"))
    made = packer(tmp_path)
    (item,) = made.items()
    (tmp_path / "a.png").unlink()
    with pytest.raises(SampleError, match=r"a\.png: .*No such file"):
        made.encode(item)


@pytest.mark.parametrize("name", ["missing", "notes.txt"])
def test_what_is_no_corpus_lists_the_kinds(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(DataError, match=r"Expected a folder of images .*\.npz") as caught:
        packer(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("corpus", ["folder", "npz"])
def test_another_process_encodes_the_same_from_little(corpus: str, tmp_path: Path) -> None:
    if corpus == "folder":
        (tmp_path / "a.png").write_bytes(encoded(noise(60, 60), "PNG"))
        location = tmp_path
    else:
        location = tmp_path / "images.npz"
        np.savez(location, images=noise(200, 200)[None])
    made = packer(location)
    (item,) = made.items()
    here = made.encode(item)
    sent = pickle.dumps((made, item))
    assert len(sent) < 2000
    there: tuple[ImagePacker, Item[Any]] = pickle.loads(sent)
    assert there[0].encode(there[1]) == here
    assert isinstance(here, Record)
    assert made.files() == {}
