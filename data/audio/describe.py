"""Waveforms as text, for `polytrain data show`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCKS = "".join(map(chr, (0x20, *range(0x2581, 0x2589))))  # a space, then blocks from one eighth to full
_ASCII = " .:-=+*#%@"


def waveform_line(waveform: NDArray[np.floating], width: int = 64, *, ascii_only: bool = False) -> str:
    """The loudness of a waveform [T] over time, as one line of at most `width` characters.

    A character stands for an equal share of the time; its height is the largest |sample| there, relative to the
    largest of all. Silence is blank; what is not silent is never blank.
    """
    levels = _ASCII if ascii_only else _BLOCKS
    if not len(waveform):
        return ""
    peaks = np.array([np.abs(part).max() for part in np.array_split(waveform, min(width, len(waveform)))])
    loudest = float(peaks.max())
    heights = np.ceil(peaks / loudest * (len(levels) - 1)).astype(int) if loudest > 0 else np.zeros(len(peaks), int)
    return "".join(levels[height] for height in heights)


def duration_text(frames: int, sample_rate: int) -> str:
    """A duration for people: 0.350 s, 12.3 s, 4:05 min, 1:02:03 h."""
    seconds = frames / sample_rate
    if seconds < 59.95:
        return f"{seconds:.3f} s" if seconds < 0.9995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"
