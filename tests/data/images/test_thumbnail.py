from __future__ import annotations

import re

import numpy as np

from data.images.thumbnail import plain_thumbnail, thumbnail

CELL = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+)m\x1b\[48;2;(\d+);(\d+);(\d+)m\u2580")


def pixels(shown: str) -> np.ndarray:
    """What the escape sequences paint: [rows * 2, columns, 3]."""
    rows = []
    for line in shown.split("\n"):
        cells = np.array([[int(value) for value in cell] for cell in CELL.findall(line)])
        assert CELL.sub("", line) == "\x1b[0m"
        rows += [cells[:, :3], cells[:, 3:]]
    return np.array(rows)


def test_half_blocks_paint_the_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert np.array_equal(pixels(thumbnail(image, 8)), image)


def test_proportions_are_kept() -> None:
    assert pixels(thumbnail(np.zeros((100, 200, 3), dtype=np.uint8), 40)).shape == (20, 40, 3)
    lines = plain_thumbnail(np.zeros((100, 200, 3), dtype=np.uint8), 40).split("\n")
    assert (len(lines), len(lines[0])) == (10, 40)


def test_an_odd_number_of_rows_repeats_the_last() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(3, 1, 3)
    assert pixels(thumbnail(image, 1))[:, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [6, 7, 8]]


def test_gray_and_transparent_images() -> None:
    assert pixels(thumbnail(np.full((2, 2, 1), 9, dtype=np.uint8), 2)).tolist() == [[[9, 9, 9]] * 2] * 2
    assert pixels(thumbnail(np.zeros((2, 2, 4), dtype=np.uint8), 2)).tolist() == [[[255, 255, 255]] * 2] * 2


def test_plain_characters_are_denser_where_it_is_brighter() -> None:
    ramp = np.linspace(0, 255, 10).astype(np.uint8).reshape(1, 10, 1).repeat(2, axis=0)
    shown = plain_thumbnail(ramp, 10)
    assert shown == " .:-=+*#%@"
    assert plain_thumbnail(np.full((2, 1, 3), 255, dtype=np.uint8), 1) == "@"


def test_a_wide_strip_still_has_a_line() -> None:
    assert plain_thumbnail(np.zeros((1, 500, 3), dtype=np.uint8), 10) == " " * 10
