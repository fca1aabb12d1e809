from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from configs.errors import ConfigError
from model.mixers.attention import Attention
from model.mixers.axial import Axial
from model.mixers.mixer import MixerContext, visible
from model.mixers.options import AttentionOptions, AxialOptions
from model.options import BlockOptions
from model.visibility import Causal, ContextOnly, Everything, Places, SameSegment, Visibility

GRID, BATCH, DIM = (3, 4, 2), 2, 8
TOKENS = 24
INDEX = torch.arange(TOKENS)
SEGMENTS = torch.tensor([[0, 1, 0, 0, 1, 0, 1, 1], [1, 1, 0, 1, 0, 0, 1, 0]]).repeat(1, 3)
SPLIT = torch.tensor([2, 1])


@dataclass(frozen=True)
class SameLine(Visibility):
    """Tokens that differ in nothing but their place along one axis."""

    axis: int

    def allowed(self, query: Places, key: Places) -> Tensor:
        places = [torch.unravel_index(places.index, GRID) for places in (query, key)]
        same = [first == second for axis, (first, second) in enumerate(zip(*places, strict=True)) if axis != self.axis]
        return same[0] & same[1]


def _mixer(cls: type[Attention], options: AttentionOptions, positions: str = "none") -> Attention:
    block = BlockOptions.model_validate({"dim": DIM, "mixer": options.tree(), "positions": positions})
    torch.manual_seed(0)
    return cls(options, block, causal=False).double()


def _context(mixer: Attention, rule: Visibility, x: Tensor, backend: str = "sdpa") -> MixerContext:
    flat = Places(INDEX[None], SEGMENTS, SPLIT * 8)
    places = mixer.places(flat, GRID)
    return MixerContext(visible(backend, mixer.rule(rule), places, places, x, **mixer.asks()), grid=GRID)


RULES = {
    "all": (Everything(), lambda axis: SameLine(axis)),
    "context": (ContextOnly(), lambda axis: SameLine(axis) & ContextOnly() if axis == 0 else SameLine(axis)),
    "segments": (SameSegment(), lambda axis: SameLine(axis) & SameSegment()),
    "causal": (Causal(), lambda axis: SameLine(axis) & Causal()),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_axial_attention_is_attention_to_the_tokens_of_the_same_line(axis: int, rule: str) -> None:
    along, flat = RULES[rule]
    x = torch.randn(BATCH, TOKENS, DIM, generator=torch.Generator().manual_seed(1)).double()
    axial, whole = _mixer(Axial, AxialOptions(num_heads=2, axis=axis)), _mixer(Attention, AttentionOptions(num_heads=2))
    context, everywhere = _context(axial, along, x), _context(whole, flat(axis), x, "reference")
    torch.testing.assert_close(axial(x, context), whole(x, everywhere), rtol=0, atol=1e-12)
    torch.testing.assert_close(axial.materialize(x, context), whole.materialize(x, everywhere), rtol=0, atol=1e-12)


def test_a_window_counts_along_the_line() -> None:
    x = torch.randn(BATCH, TOKENS, DIM, generator=torch.Generator().manual_seed(1)).double()
    axial = _mixer(Axial, AxialOptions(num_heads=2, axis=1, window=1))
    weights = axial.materialize(x, _context(axial, Everything(), x))
    columns = torch.unravel_index(INDEX, GRID)[1]
    far = (columns[:, None] - columns).abs() > 1
    assert not weights[..., far].any()


@pytest.mark.parametrize("grid", [None, (4,), (5, 5)], ids=str)
def test_tokens_that_fill_no_grid_are_refused(grid: Any) -> None:
    axial = _mixer(Axial, AxialOptions(num_heads=2, axis=1))
    x = torch.zeros(BATCH, TOKENS, DIM).double()
    with pytest.raises(ConfigError, match="expected tokens that fill a grid"):
        axial(x, replace(_context(axial, Everything(), x), grid=grid))


def test_positions_inside_attention_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.positions=rotary: axial mixers know of no positions"):
        _mixer(Axial, AxialOptions(num_heads=2, axis=0), positions="rotary")
