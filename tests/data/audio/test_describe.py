from __future__ import annotations

import numpy as np
import pytest

from data.audio.describe import duration_text, waveform_line


def test_a_ramp_rises() -> None:
    assert waveform_line(np.linspace(0, -1, 900), 9, ascii_only=True) == ".:-=+*#%@"
    line = waveform_line(np.linspace(0, -1, 800), 8)
    assert [ord(character) for character in line] == list(range(0x2581, 0x2589))


def test_silence_is_blank_and_a_whisper_is_not() -> None:
    assert waveform_line(np.zeros(100), 10) == " " * 10
    quiet = np.array([1.0] + 9 * [0.0] + 10 * [1e-6], np.float32)
    assert waveform_line(quiet, 4, ascii_only=True) == "@ .."


def test_lines_are_no_longer_than_the_waveform() -> None:
    assert waveform_line(np.zeros(0)) == ""
    assert waveform_line(np.ones(3), 10, ascii_only=True) == "@@@"
    assert len(waveform_line(np.ones(100_003), 77)) == 77


def test_loudness_is_relative() -> None:
    waveform = np.sin(np.arange(5000) ** 1.3)
    assert waveform_line(waveform) == waveform_line(0.01 * waveform)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(0, "0.000 s"), (5600, "0.350 s"), (15_999, "1.0 s"), (196_800, "12.3 s"), (959_999, "1:00 min"),
     (16_000 * 245, "4:05 min"), (16_000 * 3723, "1:02:03 h")],
)  # fmt: skip
def test_durations(frames: int, expected: str) -> None:
    assert duration_text(frames, 16_000) == expected
