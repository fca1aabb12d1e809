"""Reader of `.ts`, the text format of aeon and sktime for sets of time series.

    # comments
    @problemName JapaneseVowels
    @timeStamps false
    @classLabel true 1 2 3          or: @targetLabel true, for regression
    @data
    1.24,1.22,?:0.3,0.1,0.2:1       a series: its channels, separated by ":", and its label

Channels of one series have the same length, series may differ. `?` and `NaN` are missing values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from data.sample import SampleError


@dataclass(frozen=True)
class TsHeader:
    """What stands above `@data`, and where the series begin."""

    problem: str
    classes: tuple[str, ...] | None
    "In the order of the header; None where there are no classes."
    has_target: bool
    "Whether the label is a number to predict."
    data_start: int
    "First byte after the line `@data`."


def read_header(path: Path) -> TsHeader:
    """The header of a .ts file.

    Raises:
        DataError: when the file has no `@data`, or is of a kind that is not read.
    """
    tags: dict[str, list[str]] = {}
    try:
        with path.open("rb") as stream:
            for line in iter(stream.readline, b""):
                words = line.decode("utf-8-sig").split()
                if words and words[0].lower() == "@data":
                    return _header(path, tags, stream.tell())
                if words and words[0].startswith("@"):
                    tags[words[0].lower()] = words[1:]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    raise DataError(f"{path}: has no line '@data'; not a .ts file.")


def series_places(path: Path, header: TsHeader) -> Iterator[tuple[int, int]]:
    """First byte and size of the line of every series, in order.

    Raises:
        DataError: when the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(header.data_start)
            start = header.data_start
            for line in stream:
                if line.strip() and not line.startswith(b"#"):
                    yield start, len(line)
                start += len(line)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def parse_series(line: str, header: TsHeader, where: str) -> tuple[NDArray[np.float32], str | None]:
    """A series [T, channels] and its label.

    Raises:
        SampleError: when a value is no number, or the channels differ in length.
    """
    channels = line.strip().split(":")
    label = channels.pop().strip() if header.classes is not None or header.has_target else None
    if not channels:
        raise SampleError(f"{where}: has a label but no values; expected channels and label, separated by ':'")
    if "(" in line:
        raise SampleError(f"{where}: has time stamps, (time, value); write plain values without them")
    values = [_channel(channel, where) for channel in channels]
    lengths = sorted({len(channel) for channel in values})
    if len(lengths) > 1:
        raise SampleError(f"{where}: channels of {lengths[0]} and {lengths[-1]} steps; expected one length")
    return np.stack(values, axis=1).astype(np.float32), label


def _channel(text: str, where: str) -> NDArray[np.float64]:
    try:
        return np.array([np.nan if cell.strip() == "?" else float(cell) for cell in text.split(",")])
    except ValueError as error:
        raise SampleError(f"{where}: {error}; expected numbers separated by ','") from None


def _header(path: Path, tags: dict[str, list[str]], data_start: int) -> TsHeader:
    if _is_true(tags.get("@timestamps")):
        raise DataError(
            f"{path}: its series have time stamps (@timeStamps true), which are not read. Write plain values."
        )
    classes = tags.get("@classlabel")
    return TsHeader(
        problem=" ".join(tags.get("@problemname", [])) or path.stem,
        classes=tuple(classes[1:]) if classes is not None and _is_true(classes) else None,
        has_target=_is_true(tags.get("@targetlabel")),
        data_start=data_start,
    )


def _is_true(words: list[str] | None) -> bool:
    return bool(words) and words is not None and words[0].lower() == "true"
