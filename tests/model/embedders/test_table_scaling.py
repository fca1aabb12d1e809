from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.embedders.table_scaling import standardised


def _scaled(rows: list[list[float]], known: int, clip: float = 1e9) -> tuple[list[list[float]], list[list[bool]]]:
    features = torch.tensor([rows], dtype=torch.float64)
    values, missing = standardised(features, torch.tensor([len(rows[0])]), torch.tensor([known]), clip)
    return values[0].tolist(), missing[0].tolist()


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), known=st.integers(2, 7), share=st.floats(0, 0.6))
def test_known_rows_give_mean_and_deviation(seed: int, known: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((8, 3)) * [1e-6, 1, 1e6] + [5, 0, 1e6]
    features[rng.random((8, 3)) < share] = np.nan
    values, missing = _scaled(features.tolist(), known)
    for column, (found, absent) in enumerate(zip(np.transpose(values), np.transpose(missing), strict=True)):
        context = features[:known, column][~np.isnan(features[:known, column])]
        if len(context) == 0:
            assert absent.all()
            continue
        assert (absent == np.isnan(features[:, column])).all()
        scale = context.std() if len(context) > 1 else 1.0
        expected = np.nan_to_num((features[:, column] - context.mean()) / scale)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-8)


def test_a_constant_column_is_centred_and_rounding_is_not_blown_up() -> None:
    values, _ = _scaled([[0.1], [0.1], [0.1], [0.6]], known=3)
    np.testing.assert_allclose(values, [[0], [0], [0], [0.5]], atol=1e-12)


def test_values_are_clipped() -> None:
    values, _ = _scaled([[-1.0], [1.0], [7.0], [-7.0]], known=2, clip=5.0)
    assert values == [[-1.0], [1.0], [5.0], [-5.0]]
