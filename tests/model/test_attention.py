from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.mixers.attention import Attention
from model.mixers.mixer import MixerContext, visible
from model.options import TransformerOptions
from model.positions.rotary import rotary_angles, rotate
from model.visibility import Causal, Everything, Places, SameSegment, Visibility, dense_mask

OptionsOf = Callable[..., TransformerOptions]

SEGMENTS_BT = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1, 1]])


def random_attention(options: TransformerOptions) -> Attention:
    attention = Attention(options.mixer, options).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return attention


def random_input(num_tokens: int = 6) -> Tensor:
    return torch.randn(2, num_tokens, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def context_of(rule: Visibility, segments_BT: Tensor | None = None, angles: object = None) -> MixerContext:
    places = Places(torch.arange(6)[None], segments_BT)
    return MixerContext(visible("sdpa", rule, places, places, random_input()), angles)  # type: ignore[arg-type]


def naive(
    attention: Attention, options: TransformerOptions, x_BTD: Tensor, visible_BTT: Tensor, angles: object
) -> Tensor:
    """Equation 1 of Vaswani et al. 2017, one row and one head at a time."""
    width, group = options.mixer.head_width(options.dim), options.mixer.num_heads // options.mixer.kv_heads
    rows = []
    for row, x_TD in enumerate(x_BTD):
        heads = []
        for head in range(options.mixer.num_heads):
            mine = slice(head * width, (head + 1) * width)
            shared = slice(head // group * width, (head // group + 1) * width)
            q_TK, k_TK = attention.query(x_TD)[:, mine], attention.key(x_TD)[:, shared]
            if isinstance(angles, tuple):
                q_TK, k_TK = (rotate(x[None, None], angles)[0, 0] for x in (q_TK, k_TK))
            scores_TT = (q_TK @ k_TK.T) / math.sqrt(width)
            scores_TT = scores_TT.masked_fill(~visible_BTT[row], -math.inf)
            weights_TT = scores_TT.exp() / scores_TT.exp().sum(-1, keepdim=True)
            heads.append(weights_TT @ attention.value(x_TD)[:, shared])
        rows.append(attention.output(torch.cat(heads, dim=-1)))
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("kv_heads", "has_mask", "has_angles"), list(itertools.product([4, 2, 1], [False, True], [False, True]))
)
def test_attention_and_its_gradients_equal_naive_softmax_attention(
    options_of: OptionsOf, kv_heads: int, has_mask: bool, has_angles: bool
) -> None:
    options = options_of(mixer={"num_kv_heads": kv_heads, "head_dim": 6}, bias=True)
    attention, x_BTD = random_attention(options), random_input().requires_grad_()
    rule = Causal() & SameSegment() if has_mask else Causal()
    segments_BT = SEGMENTS_BT if has_mask else None
    places = Places(torch.arange(6)[None], segments_BT)
    visible_BTT = dense_mask(rule, places, places)[:, 0].expand(2, -1, -1)
    angles = None
    if has_angles:
        cos, sin = rotary_angles(torch.arange(6)[None], 6, 100.0)
        angles = (cos.double(), sin.double())

    ours = attention(x_BTD, context_of(rule, segments_BT, angles))
    theirs = naive(attention, options, x_BTD, visible_BTT, angles)

    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    upstream = torch.randn(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    wanted = [x_BTD, *attention.parameters()]
    for mine, other in zip(
        torch.autograd.grad(ours, wanted, upstream), torch.autograd.grad(theirs, wanted, upstream), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("place", [1, 3, 5])
def test_a_later_token_never_changes_an_earlier_output(options_of: OptionsOf, place: int, kv_heads: int) -> None:
    attention, x_BTD = random_attention(options_of(mixer={"num_kv_heads": kv_heads})), random_input()
    changed_BTD = x_BTD.clone()
    changed_BTD[:, place] += 1.0
    before = attention(x_BTD, context_of(Causal()))
    after = attention(changed_BTD, context_of(Causal()))
    torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-13)
    assert (after[:, place:] - before[:, place:]).abs().amax(-1).min() > 1e-3


def test_the_rule_decides_who_sees_whom(options_of: OptionsOf) -> None:
    attention, x_BTD = random_attention(options_of()), random_input()
    both_ways = attention(x_BTD, context_of(Everything()))
    causal = attention(x_BTD, context_of(Causal()))
    assert not torch.allclose(both_ways[:, 0], causal[:, 0])
    # The last token sees the same either way.
    torch.testing.assert_close(both_ways[:, -1], causal[:, -1], rtol=0, atol=1e-12)


def test_key_and_value_projections_have_only_as_many_heads_as_asked(options_of: OptionsOf) -> None:
    options = options_of(mixer={"num_kv_heads": 2, "head_dim": 6})
    attention = Attention(options.mixer, options)
    assert attention.query.out_features == 24
    assert attention.key.out_features == attention.value.out_features == 12
    assert attention.output.in_features == 24
    assert attention.output.out_features == 16
