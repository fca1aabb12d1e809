from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from configs.errors import DataError
from data.packing.images.options import ImagePackOptions
from data.packing.images.packer import ImagePacker
from data.sample import SampleError


def png(value: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (2, 2), value).save(stream, format="PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def make(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(png())
        return tmp_path

    return make


def listed(root: Path, **options: Any) -> list[tuple[str, str | None, object]]:
    """Name, split and class of every image."""
    packer = ImagePacker(ImagePackOptions(corpus=str(root), **options), root)
    return [(item.name, item.split, packer.encode(item).members.get("cls")) for item in packer.items()]


def facts(root: Path, **options: Any) -> dict[str, Any]:
    return dict(ImagePacker(ImagePackOptions(corpus=str(root), **options), root).facts())


def test_folders_are_classes_numbered_in_order(folder: Callable[..., Path]) -> None:
    root = folder("zebra/1.png", "ant/deep/er/2.png", "ant/1.jpg", "bee/1.webp")
    assert listed(root) == [
        ("ant/1.jpg", None, 0),
        ("ant/deep/er/2.png", None, 0),
        ("bee/1.webp", None, 1),
        ("zebra/1.png", None, 2),
    ]
    assert facts(root) == {"class_names": ["ant", "bee", "zebra"]}
    assert [number for _, _, number in listed(root, classes="none")] == [None] * 4
    assert facts(root, classes="none") == {}


def test_without_subfolders_there_are_no_classes(folder: Callable[..., Path]) -> None:
    root = folder("b.png", "a.png")
    assert listed(root) == [("a.png", None, None), ("b.png", None, None)]
    assert facts(root) == {}


def test_an_image_beside_class_folders_is_an_error(folder: Callable[..., Path]) -> None:
    root = folder("cat/1.png", "dog/1.png", "stray.png")
    with pytest.raises(DataError, match=r"stray\.png: lies beside folders of classes \(cat, dog\).*--classes none"):
        listed(root)
    assert len(listed(root, classes="none")) == 3


@pytest.mark.parametrize("held_out", ["val", "validation", "test"])
def test_split_folders_are_kept_to_and_name_no_class(held_out: str, folder: Callable[..., Path]) -> None:
    root = folder("train/cat/1.png", "train/dog/1.png", f"{held_out}/dog/2.png")
    assert listed(root) == sorted(
        [("train/cat/1.png", "train", 0), ("train/dog/1.png", "train", 1), (f"{held_out}/dog/2.png", "validation", 1)]
    )
    by_hash = listed(root, splits="hash", classes="none")
    assert [split for _, split, _ in by_hash] == [None] * 3


def test_a_test_folder_beside_a_validation_folder_stays_unseen(folder: Callable[..., Path]) -> None:
    root = folder("train/cat/1.png", "val/cat/2.png", "test/3.png", "test/4.png")
    assert [(name, split) for name, split, _ in listed(root)] == [
        ("train/cat/1.png", "train"),
        ("val/cat/2.png", "validation"),
    ]
    assert facts(root) == {"class_names": ["cat"], "left_out": {"test": 2}}


def test_one_split_folder_alone_is_a_class_like_any_other(folder: Callable[..., Path]) -> None:
    assert listed(folder("train/1.png", "car/1.png")) == [("car/1.png", None, 0), ("train/1.png", None, 1)]


def test_a_folder_beside_split_folders_is_an_error(folder: Callable[..., Path]) -> None:
    root = folder("train/1.png", "test/1.png", "car/1.png")
    with pytest.raises(DataError, match=r"'car' which is neither.*--splits hash"):
        listed(root)
    assert [number for _, _, number in listed(root, splits="hash")] == [0, 1, 2]


def test_captions_and_labels_beside_an_image_go_with_it(folder: Callable[..., Path]) -> None:
    root = folder("a.png", "b.png")
    (root / "a.txt").write_text("  a caf\u00e9 \n", encoding="utf-8")
    (root / "a.json").write_text('{"width": 2, "tags": ["x"]}')
    (root / "notes.txt").write_text("belongs to no image")
    packer = ImagePacker(ImagePackOptions(corpus=str(root)), root)
    first, second = (dict(packer.encode(item).members) for item in packer.items())
    assert first == {"png": png(), "txt": "a caf\u00e9", "json": {"width": 2, "tags": ["x"]}}
    assert second == {"png": png()}


@pytest.mark.parametrize(("name", "content"), [("a.txt", b"\xff\xfe"), ("a.json", b"{broken"), ("a.json", b"\xff")])
def test_damaged_files_beside_an_image_are_named(name: str, content: bytes, folder: Callable[..., Path]) -> None:
    root = folder("a.png")
    (root / name).write_bytes(content)
    with pytest.raises(SampleError, match=rf"a\.png: {name} beside it is not"):
        listed(root)


def test_hidden_and_other_files_are_left_out(folder: Callable[..., Path]) -> None:
    root = folder("a.png", "._a.png", ".thumbnails/a.png", "a.txt.bak", "__MACOSX/._b.png")
    assert [name for name, _, _ in listed(root)] == ["a.png"]


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no images found. Expected files that end in \.bmp .*idx files"):
        listed(tmp_path)


def test_links_to_folders_are_followed_and_circles_refused(folder: Callable[..., Path], tmp_path: Path) -> None:
    root = folder("data/cat/1.png", "elsewhere/1.png") / "data"
    (root / "dog").symlink_to(root.parent / "elsewhere")
    assert listed(root) == [("cat/1.png", None, 0), ("dog/1.png", None, 1)]
    (root / "cat/again").symlink_to(root)
    with pytest.raises(DataError, match="again: a link to a folder that contains it"):
        listed(root)


def test_a_name_that_is_not_utf8_is_named(folder: Callable[..., Path]) -> None:
    root = folder("a.png")
    with open(os.fsencode(root) + b"/caf\xe9.png", "wb") as stream:
        stream.write(png())
    with pytest.raises(DataError, match=r"caf.*is not UTF-8; rename it"):
        listed(root)


def test_names_are_groups_and_the_order_is_that_of_the_names(folder: Callable[..., Path]) -> None:
    root = folder("b/2.png", "a.b/1.png", "a/9.png")
    packer = ImagePacker(ImagePackOptions(corpus=str(root)), root)
    names = [item.name for item in packer.items()]
    assert names == sorted(names)
    assert [item.group for item in packer.items()] == names
