"""Cells of a file -> numbers, seconds, names: what a column looks like, and how its values are read.

Text is read without the blanks around it. A column of text is

    numeric      when every value is a number and none is a code with leading zeros (`007`, postal codes)
    datetime     when every value is an ISO 8601 date or time (`2013-01-31`, `2013-01-31 05:00:00`, `...T05:00:00Z`);
                 times without a zone are read as UTC
    categorical  else
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.sample import SampleError

Floats = NDArray[np.float64]

_LEADING_ZERO = r"^[+-]?0[0-9]"
_UTC_TIME = pyarrow.timestamp("us", "UTC")


class Look:
    """What the values of one column seen so far could be."""

    def __init__(self) -> None:
        self.is_empty = True
        self.is_number = True
        self.is_datetime = True
        self.is_whole = True
        self._whole: set[int] = set()

    def see(self, values: pyarrow.Array, count_to: int) -> None:
        """More values; different whole numbers are counted up to `count_to`, then no more (0: not at all)."""
        values = values.drop_null()
        if not len(values):
            return
        self.is_empty = False
        if pyarrow.types.is_string(values.type):
            self.is_datetime = self.is_datetime and seconds_or_none(values) is not None
            numbers = _numbers_or_none(values) if self.is_number else None
            self.is_number = numbers is not None and not _any(pc.match_substring_regex(values, _LEADING_ZERO))
        else:
            numbers = to_float(values, "")
        if self.is_number and numbers is not None:
            self._count(numbers[np.isfinite(numbers)], count_to)

    def _count(self, numbers: Floats, count_to: int) -> None:
        # Beyond 2^53 floats cannot tell whole numbers apart.
        self.is_whole = self.is_whole and bool(((numbers == np.round(numbers)) & (np.abs(numbers) < 2**53)).all())
        if self.is_whole and count_to > 0 and len(self._whole) <= count_to:
            self._whole.update(np.unique(numbers).astype(np.int64).tolist())

    def num_whole(self) -> int | None:
        """Different whole numbers seen (above the limit: at least so many); None when some were not whole."""
        return len(self._whole) if self.is_number and self.is_whole and self._whole else None


def clean(column: pyarrow.ChunkedArray, missing: list[str]) -> pyarrow.Array:
    """One array: text trimmed and missing where it says so, categories of parquet as text."""
    values = column.combine_chunks()
    if isinstance(values, pyarrow.ChunkedArray):  # several chunks when text exceeds 2 GB, none when there are no rows
        values = pyarrow.concat_arrays(values.chunks) if values.num_chunks else pyarrow.array([], column.type)
    kind = values.type
    if pyarrow.types.is_dictionary(kind):
        values = values.dictionary_decode()
        kind = values.type
    if pyarrow.types.is_large_string(kind) or pyarrow.types.is_string_view(kind):
        values = values.cast(pyarrow.string())
    if pyarrow.types.is_string(values.type):
        values = pc.utf8_trim_whitespace(values)
        is_missing = pc.is_in(values, pyarrow.array(missing, pyarrow.string()))
        values = pc.if_else(is_missing, pyarrow.scalar(None, pyarrow.string()), values)
    return values


def to_float(values: pyarrow.Array, where: str) -> Floats:
    """Numbers; missing and infinite ones are NaN.

    Raises:
        SampleError: naming the first value that is none.
    """
    try:
        numbers = _floats(pc.cast(values, pyarrow.float64(), safe=False))
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        raise SampleError(f"{where}: {_first_bad(values, _numbers_or_none)} is not a number") from None
    # What is stored is float32: what does not fit is as infinite as infinity.
    numbers[np.abs(numbers) > float(np.finfo(np.float32).max)] = np.nan
    return numbers


def to_seconds(values: pyarrow.Array, where: str) -> Floats:
    """Seconds since 1970 (UTC); NaN where missing.

    Raises:
        SampleError: naming the first value that is neither date nor time.
    """
    seconds = seconds_or_none(values)
    if seconds is None:
        raise SampleError(
            f"{where}: {_first_bad(values, seconds_or_none)} is neither a date nor a time; expected ISO 8601"
        )
    return seconds


def to_text(values: pyarrow.Array) -> pyarrow.Array:
    """Names of categories."""
    return values if pyarrow.types.is_string(values.type) else pc.cast(values, pyarrow.string())


def part_of(seconds: Floats, part: str) -> Floats:
    """The year, month (1-12), day (1-31), weekday (Monday is 0), hour or minute of a moment (UTC); NaN stays."""
    known = ~np.isnan(seconds)
    moments = np.floor(seconds[known]).astype(np.int64)
    days = moments // 86400
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    read: dict[str, Callable[[], NDArray[np.int64]]] = {
        "year": lambda: months.astype("datetime64[Y]").astype(np.int64) + 1970,
        "month": lambda: months.astype(np.int64) % 12 + 1,
        "day": lambda: (dates - months.astype("datetime64[D]")).astype(np.int64) + 1,
        "weekday": lambda: (days + 3) % 7,  # 1970 began on a Thursday
        "hour": lambda: moments % 86400 // 3600,
        "minute": lambda: moments % 3600 // 60,
    }
    result = np.full(len(seconds), np.nan)
    result[known] = read[part]()
    return result


def seconds_or_none(values: pyarrow.Array) -> Floats | None:
    """Seconds since 1970, or None when some value is neither a date nor a time."""
    kinds = [values.type] if not pyarrow.types.is_string(values.type) else [pyarrow.timestamp("us"), _UTC_TIME]
    for kind in kinds:  # text either all with a zone or all without
        try:
            moments = pc.cast(values, kind)
            moments = pc.cast(moments, pyarrow.timestamp("us", moments.type.tz if _is_time(moments) else None))
            return _floats(pc.cast(moments, pyarrow.int64())) / 1e6
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
            continue
    return None


def _is_time(values: pyarrow.Array) -> bool:
    return bool(pyarrow.types.is_timestamp(values.type))


def _numbers_or_none(values: pyarrow.Array) -> Floats | None:
    try:
        return _floats(pc.cast(values, pyarrow.float64(), safe=False))
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        return None


def _floats(values: pyarrow.Array) -> Floats:
    """A copy in numpy, NaN where missing."""
    # Filled first: to_numpy would go through Python objects for some types with missing values.
    known = pc.is_valid(values).to_numpy(zero_copy_only=False)
    filled = pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(known, filled, np.nan)


def _any(values: pyarrow.Array) -> bool:
    return bool(pc.any(values).as_py())


def _first_bad(values: pyarrow.Array, read: object) -> str:
    """The first value that `read` refuses, quoted."""
    assert callable(read)
    for row in range(len(values)):
        if read(values.slice(row, 1)) is None:
            return f"'{values[row].as_py()}' (row {row} of these)"
    return "something"
