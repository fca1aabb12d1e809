"""Folders of images, with classes by folder, captions (NAME.txt) and labels (NAME.json) beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue

from configs.errors import DataError
from data.packing.images.corpus import ImageCorpus, RawImage, own_splits
from data.packing.images.options import ImagePackOptions
from data.packing.record import Item, Member

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_SPLIT_FOLDERS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}

FilePlace = tuple[str, int | None]
"The path below the root, and the number of the class."


class ImageFolder(ImageCorpus[FilePlace]):
    """The images of a folder, recursively, in the order of their paths; hidden files are left out."""

    def __init__(self, options: ImagePackOptions, root: Path) -> None:
        self._options = options
        self._root = root

    def items(self) -> Iterator[Item[FilePlace]]:
        """One for each image file."""
        classes = {name: number for number, name in enumerate(self._classes)}
        for name in self._names:
            top = name.split("/", 1)[0]
            if self._splits is None:
                yield Item(name, name, (name, classes.get(self._class_of(name))))
            elif top in self._splits:
                yield Item(name, name, (name, classes.get(self._class_of(name))), self._splits[top])

    def read(self, place: FilePlace) -> RawImage:
        """The file's bytes, its class, and what lies beside it."""
        name, number = place
        path = self._root / name
        members: dict[str, Member] = {} if number is None else {"cls": number}
        caption, labels = path.with_suffix(".txt"), path.with_suffix(".json")
        if caption.is_file():
            members["txt"] = _text(caption).strip()
        if labels.is_file():
            members["json"] = _json(labels)
        return RawImage(path.read_bytes(), members)

    def where(self, place: FilePlace) -> str:
        """The path."""
        return str(self._root / place[0])

    def facts(self) -> dict[str, JsonValue]:
        """Class names, in the order of their numbers; how many images of which folders were left out."""
        facts: dict[str, JsonValue] = {}
        if self._classes:
            facts["class_names"] = list(self._classes)
        tops = [name.split("/", 1)[0] for name in self._names]
        unused = sorted({top for top in tops if self._splits is not None and top not in self._splits})
        if unused:
            facts["left_out"] = {top: tops.count(top) for top in unused}
        return facts

    @cached_property
    def _names(self) -> list[str]:
        """Paths below the root. Only the process that lists has them; `read` needs one path."""
        names = sorted(_image_names(self._root))
        if not names:
            raise DataError(
                f"{self._root}: no images found. Expected files that end in {' '.join(sorted(SUFFIXES))}, "
                "or a pair of idx files (train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz)."
            )
        return names

    @cached_property
    def _splits(self) -> dict[str, str | None] | None:
        """The split of each folder at the top; None where the corpus has no splits of its own."""
        if self._options.splits == "hash":
            return None
        tops = {name.split("/", 1)[0]: None for name in self._names}
        splits = own_splits({top: _SPLIT_FOLDERS.get(top) for top in tops}, str(self._root))
        return splits if any(splits.values()) else None

    @cached_property
    def _classes(self) -> list[str]:
        """Class names, sorted; empty where there are no classes."""
        if self._options.classes == "none":
            return []
        used = [name for name in self._names if self._splits is None or name.split("/", 1)[0] in self._splits]
        found = {self._class_of(name) for name in used}
        if found != {""} and "" in found:
            alone = next(name for name in used if not self._class_of(name))
            raise DataError(
                f"{self._root / alone}: lies beside folders of classes ({', '.join(sorted(found - {''})[:3])}) and is "
                "in none. Move it into one, or pass --classes none."
            )
        return sorted(found - {""})

    def _class_of(self, name: str) -> str:
        """The folder that names the class; "" without one."""
        folders = name.split("/")[:-1]
        if self._splits is not None:
            folders = folders[1:]
        return folders[0] if folders else ""


def _image_names(root: Path) -> Iterator[str]:
    """Paths of image files below `root`; links to folders are followed."""
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        _refuse_loop(root, Path(folder))
        for file in files:
            path = Path(folder, file)
            if path.suffix.lower() in SUFFIXES and not file.startswith("."):
                yield _named(path.relative_to(root).as_posix(), root)


def _refuse_loop(root: Path, folder: Path) -> None:
    if folder.is_symlink() and folder.resolve() in (root.resolve(), *(parent.resolve() for parent in folder.parents)):
        raise DataError(f"{folder}: a link to a folder that contains it. Remove the link.")


def _named(name: str, root: Path) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{root}: the file name {name!r} is not UTF-8; rename it.") from None
    return name


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} beside it is not UTF-8 text: {error}") from None


def _json(path: Path) -> JsonValue:
    try:
        value: JsonValue = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name} beside it is not JSON: {error}") from None
    return value
