"""Samples as text for people: pictures, sounds, tables, tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.sample import Sample
from data.tables.describe import table_head

_WIDTH = 48
_TEXT = 400
_NUMBERS = 8
_COLUMNS = 8


class Describer:
    """Describes the fields of samples."""

    def __init__(self, tokenizer: Path | None, *, is_terminal: bool) -> None:
        """Tokens are shown as text where there is a tokenizer; pictures have colours on a terminal."""
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(tokenizer)) if tokenizer is not None else None
        self._is_terminal = is_terminal

    def describe(self, sample: Sample) -> dict[str, str]:
        """Field -> a few lines."""
        return {name: self._field(name, array, sample) for name, array in sample.items()}

    def _field(self, name: str, array: np.ndarray, sample: Sample) -> str:
        what = f"{array.dtype} {list(array.shape)}" if array.shape else ""
        if array.dtype.kind == "U":
            return _shortened(str(array))
        if not array.shape:
            return str(array)
        if array.dtype == np.uint8 and array.ndim == 3:
            from data.images.thumbnail import plain_thumbnail, thumbnail

            return f"{what}\n{(thumbnail if self._is_terminal else plain_thumbnail)(array, _WIDTH)}"
        if name.endswith("waveform") and array.ndim == 1:
            from data.audio.describe import waveform_line

            rate = int(sample.get(name.replace("waveform", "sample_rate"), np.array(0)))
            seconds = f", {len(array) / rate:.2f} s at {rate:,} Hz" if rate else ""
            return f"{what}{seconds}\n{waveform_line(array, _WIDTH, ascii_only=not self._is_terminal)}"
        if array.dtype.kind in "iu" and array.ndim == 1 and self._tokenizer is not None and name in ("tokens", "array"):
            text = self._tokenizer.decode(array[:_TEXT].tolist(), skip_special_tokens=False)
            return f"{what}\n{_shortened(text)}"
        if array.ndim == 2 and array.dtype.kind in "fiu":
            names = [str(column) for column in range(min(_COLUMNS, array.shape[1]))]
            return f"{what}\n{table_head(array[:, :_COLUMNS], names, rows=5)}"
        return f"{what}: {_some(array.ravel())}"


def _some(values: np.ndarray) -> str:
    shown = " ".join(f"{value:.4g}" if values.dtype.kind == "f" else str(value) for value in values[:_NUMBERS])
    return f"{shown}{' ...' if len(values) > _NUMBERS else ''}"


def _shortened(text: str) -> str:
    # Control characters of a stranger's text would command the terminal.
    text = "".join(mark if mark.isprintable() or mark in "\n\t" else "\ufffd" for mark in text)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}... ({len(text):,} characters)"
