from __future__ import annotations

import cmath

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.positions.rotary import positions_of, rotary_angles, rotate

ROWS = st.integers(1, 12).flatmap(
    lambda length: st.lists(st.lists(st.integers(0, 3), min_size=length, max_size=length), min_size=1, max_size=3)
)


def slow_positions(segments: list[int]) -> list[int]:
    positions: list[int] = []
    for index, segment in enumerate(segments):
        is_first = index == 0 or segment != segments[index - 1]
        positions.append(0 if is_first else positions[-1] + 1)
    return positions


@settings(deadline=None, max_examples=100)
@given(rows=ROWS)
def test_positions_restart_with_every_segment(rows: list[list[int]]) -> None:
    # Unsorted numbers too: only a change of number starts a segment.
    assert positions_of(torch.tensor(rows)).tolist() == [slow_positions(row) for row in rows]


def test_positions_of_one_segment_are_the_index_whatever_its_number() -> None:
    positions_BT = positions_of(torch.full((2, 5), 9))
    assert positions_BT.dtype == torch.int64
    assert positions_BT.tolist() == [list(range(5))] * 2


def test_rotation_preserves_norms() -> None:
    x_BHTK = torch.randn(2, 3, 40, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned_BHTK = rotate(x_BHTK, rotary_angles(torch.arange(40)[None], 8, 10000.0))
    torch.testing.assert_close(turned_BHTK.norm(dim=-1), x_BHTK.norm(dim=-1), rtol=1e-6, atol=0)
    assert not torch.allclose(turned_BHTK[:, :, 1:], x_BHTK[:, :, 1:])


def test_position_zero_is_not_turned() -> None:
    x_BHTK = torch.randn(1, 2, 1, 8, dtype=torch.float64)
    assert torch.equal(rotate(x_BHTK, rotary_angles(torch.zeros(1, 1, dtype=torch.int64), 8, 10000.0)), x_BHTK)


@pytest.mark.parametrize("base", [100.0, 10000.0, 500000.0])
@pytest.mark.parametrize("shift", [5, 37])
def test_scores_depend_only_on_relative_distance(shift: int, base: float) -> None:
    generator = torch.Generator().manual_seed(1)
    q_K, k_K = torch.randn(2, 16, dtype=torch.float64, generator=generator)
    num_tokens = 60
    angles = rotary_angles(torch.arange(num_tokens)[None], 16, base)
    q_TK = rotate(q_K.expand(1, 1, num_tokens, 16), angles)[0, 0]
    k_TK = rotate(k_K.expand(1, 1, num_tokens, 16), angles)[0, 0]
    scores_TT = q_TK @ k_TK.T
    # Angles are float32, as Llama's are: 60 positions x 6e-8.
    torch.testing.assert_close(scores_TT[shift:, shift:], scores_TT[:-shift, :-shift], rtol=0, atol=2e-4)
    assert (scores_TT[0, 0] - scores_TT[1, 0]).abs() > 1e-2


def test_rotation_is_multiplication_by_a_complex_number_of_llamas_frequencies() -> None:
    width, base, position = 8, 1000.0, 11
    x_K = torch.randn(width, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    turned_K = rotate(x_K.view(1, 1, 1, width), rotary_angles(torch.tensor([[position]]), width, base)).flatten()
    for pair in range(width // 2):
        number = complex(x_K[pair], x_K[pair + width // 2])
        expected = number * cmath.exp(1j * position * base ** (-2 * pair / width))
        assert complex(turned_K[pair], turned_K[pair + width // 2]) == pytest.approx(expected, rel=1e-5)


def test_angles_are_float32_and_rotation_keeps_the_dtype() -> None:
    cos, sin = rotary_angles(torch.arange(4)[None], 8, 10000.0)
    assert cos.dtype == sin.dtype == torch.float32
    assert rotate(torch.ones(1, 1, 4, 8, dtype=torch.bfloat16), (cos, sin)).dtype == torch.bfloat16
