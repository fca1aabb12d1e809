from __future__ import annotations

import numpy as np
import pytest

from data.tables.describe import table_head


def test_numbers_are_right_aligned_texts_left_and_gaps_dashes() -> None:
    columns = [
        np.array([1.5, np.nan, -20000000.0]),
        np.array(["red", "a very long\nname of a colour indeed", ""]),
        np.array([1, 20, 300]),
    ]
    assert table_head(columns, ["width", "colour", "n"], rows=2).splitlines() == [
        "width  colour                     n",
        "  1.5  red                        1",
        "    -  a very long name of a...  20",
        "... 1 more rows",
    ]


def test_a_matrix_is_its_columns() -> None:
    matrix = np.array([[1.0, 2.5], [3.0, np.nan]], dtype=np.float32)
    assert table_head(matrix, ["a", "b"], rows=5).splitlines() == ["a    b", "1  2.5", "3    -"]
    with pytest.raises(ValueError, match="2 columns, 1 names"):
        table_head(matrix, ["a"], rows=1)
