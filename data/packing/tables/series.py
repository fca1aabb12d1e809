"""Sets of time series -> one sample per series: `polytrain pack series`.

    series.npy  [T, channels] float32, NaN is missing
    cls         the number of its class in `classes` of corpus.json
    target.npy  [] float32, in place of a class, for regression
    json        {"file": ..., "series": its name, "label": the name of its class}

Of a folder with .ts files only those are read. Series of *_TRAIN.ts are for training and those of *_TEST.ts for
validation, where a folder has both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from configs.errors import DataError
from data.packing.record import Item, Member, Packer, Record
from data.packing.tables.files import SUFFIXES
from data.packing.tables.options import SeriesPackOptions
from data.packing.tables.records import Place
from data.packing.tables.series_files import SeriesFile, open_series
from data.sample import SampleError

_SIDES = {"_TRAIN": "train", "_TEST": "validation"}


@dataclass(frozen=True)
class SeriesPlace:
    """Where one series is."""

    file: int
    place: Place


class SeriesPacker(Packer[SeriesPlace]):
    """A `Packer` of time series."""

    def __init__(self, options: SeriesPackOptions, location: Path) -> None:
        self.options = options
        self._location = Path(location)

    def items(self) -> Iterator[Item[SeriesPlace]]:
        """Series in the order of the files."""
        sides = [_side(file.path) for file in self._files]
        # One side alone says nothing of where to validate.
        both = len(set(sides)) == len(_SIDES)
        for number, file in enumerate(self._files):
            for name, place in file.places():
                title = f"{file.path.name}:{name}"
                yield Item(title, title, SeriesPlace(number, place), sides[number] if both else None)

    def encode(self, item: Item[SeriesPlace]) -> Record:
        """Read one series."""
        file = self._files[item.content.file]
        series = file.read(item.content.place)
        about: dict[str, JsonValue] = {"file": file.path.name, "series": item.name}
        members: dict[str, Member] = {"series.npy": series.values, "json": about}
        if series.target is not None:
            members["target.npy"] = np.array(series.target, dtype=np.float32)
        elif series.label is not None:
            if series.label not in (file.classes or ()):
                raise SampleError(f"{file.path} ({item.name}): label '{series.label}' is not a class of {file.classes}")
            about["label"] = series.label
            members["cls"] = (file.classes or ()).index(series.label)
        return Record(members, length=len(series.values))

    def facts(self) -> Mapping[str, JsonValue]:
        """The names of the classes."""
        classes = self._files[0].classes
        return {"classes": list(classes)} if classes is not None else {}

    @cached_property
    def _files(self) -> list[SeriesFile]:
        return open_series(self._paths(), self.options)

    def _paths(self) -> list[Path]:
        suffixes = (".ts", *SUFFIXES)
        if self._location.is_file() and self._location.name.endswith(suffixes):
            return [self._location]
        paths = sorted(path for path in self._location.rglob("*") if path.is_file() and path.name.endswith(suffixes))
        # Collections hold the same series in other formats too.
        paths = [path for path in paths if path.suffix == ".ts"] or paths
        problems = sorted({_problem(path) for path in paths if path.suffix == ".ts"})
        if self.options.problem is not None:
            paths = [path for path in paths if _problem(path) == self.options.problem]
        elif len(problems) > 1:
            raise DataError(
                f"{self._location}: holds several problems: {', '.join(problems[:20])}. "
                "Choose one by its name (problem)."
            )
        if not paths:
            raise DataError(f"{self._location}: no series found. Expected a file or folder of {', '.join(suffixes)}")
        return paths


def _problem(path: Path) -> str:
    stem = path.name.removesuffix(path.suffix)
    return next((stem.removesuffix(mark) for mark in _SIDES if stem.endswith(mark)), stem)


def _side(path: Path) -> str | None:
    stem = path.name.removesuffix(path.suffix)
    return next((side for mark, side in _SIDES.items() if stem.endswith(mark)), None)
