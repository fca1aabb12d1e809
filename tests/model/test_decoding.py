"""A model that goes token by token computes what it computes over whole rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from model.tokens import Tokens
from model.transformer import DecodingState, Transformer

ModelOf = Callable[..., Transformer]

TOKENS_BT = torch.randint(0, 23, (2, 14), generator=torch.Generator().manual_seed(0))
GPT2: dict[str, Any] = {"norm": "layer", "positions": "learned", "feed_forward": "gelu", "bias": True}
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": GPT2,
    "llama": {"mixer": {"num_kv_heads": 2}},
    "post-norm-sinusoidal": {"norm_place": "post", "positions": "sinusoidal", "embedding_norm": True},
    "window": {"mixer": {"window": 3}},
    "windows-in-turn": {"num_layers": 3, "plan": [{"mixer": {"window": 2}}, {"positions": {"kind": "none"}}]},
    "loops": {"num_layers": 3, "plan": [{}, {"times": 3}, {"times": 2, "mixer": {"window": 4}}]},
    "skipped": {"num_layers": 3, "plan": [{}, {"times": 0}, {}]},
    "alibi": {"positions": "alibi", "mixer": {"num_kv_heads": 1}},
    "relative": {"positions": {"kind": "relative", "num_buckets": 6, "max_distance": 9}},
    "sandwich": {"norm_place": "sandwich", "layer_scale": 0.3},
    "parallel": {"parallel": True, "bias": True},
    "qk-norm": {"mixer": {"qk_norm": "rms", "num_kv_heads": 2, "head_dim": 6}},
    "softcap": {"mixer": {"softcap": 2.0, "scale": 0.7}},
    "softcap-alibi-window": {"positions": "alibi", "mixer": {"softcap": 2.0, "window": 5}},
    "joined": {"documents": "joined"},
    "narrow-embedding": {"embedding_dim": 6, "embedder": {"scaled": True, "num_types": 2}},
    "rotary-scaling": {"positions": {"kind": "rotary", "base": 20.0, "scaling": {"factor": 4.0, "original_length": 9}}},
}
# Matrices are multiplied in other shapes, so the last digits differ.
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"]
)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, model_of: ModelOf) -> Transformer:
    return model_of(**MODELS[request.param]).eval()


def part(model: Transformer, tokens_BT: Tensor, first: int, last: int) -> Tokens:
    """The tokens at places `first` up to `last`, embedded."""
    return model.embed(tokens_BT[:, first:last], positions_BT=torch.arange(first, last)[None])


def in_pieces(
    model: Transformer, tokens_BT: Tensor, cuts: list[int], memory: Tokens | None = None
) -> tuple[Tensor, DecodingState]:
    """Hidden states of pieces between `cuts`, side by side; and the state after them."""
    dtype = next(model.parameters()).dtype
    state, found = model.start(len(tokens_BT), torch.device("cpu"), dtype, memory), []
    for first, last in itertools.pairwise(cuts):
        hidden, state = model.step(part(model, tokens_BT, first, last), state)
        found.append(hidden.x)
    return torch.cat(found, dim=1), state


def require_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@PRECISIONS
def test_one_token_after_another_equals_the_whole_row(model: Transformer, dtype: torch.dtype, tolerance: float) -> None:
    with torch.no_grad():
        model = model.to(dtype)
        expected = model(TOKENS_BT).x
        found, _ = in_pieces(model, TOKENS_BT, list(range(15)))
    require_close(found, expected, tolerance)


def test_pieces_of_any_length_equal_the_whole_row(model: Transformer) -> None:
    with torch.no_grad():
        found, _ = in_pieces(model, TOKENS_BT, [0, 5, 6, 13, 14])
        require_close(found, model(TOKENS_BT).x, 1e-10)


def test_a_state_may_be_kept_and_gone_on_from_twice(model: Transformer) -> None:
    other_BT = TOKENS_BT.flip(1)
    with torch.no_grad():
        _, state = in_pieces(model, TOKENS_BT, [0, 6])
        for rest_BT in (TOKENS_BT[:, 6:], other_BT[:, 6:], TOKENS_BT[:, 6:]):
            row_BT = torch.cat((TOKENS_BT[:, :6], rest_BT), dim=1)
            hidden, _ = model.step(part(model, row_BT, 6, 14), state)
            require_close(hidden.x, model(row_BT).x[:, 6:], 1e-10)


def test_padding_within_a_piece_is_seen_by_nobody(model: Transformer) -> None:
    """A prompt of 3 tokens beside one of 7, padded to 7; then both go on where they are."""
    lengths, rest = torch.tensor([3, 7]), 5
    with torch.no_grad():
        place_T = torch.arange(7)
        segments_BT = (place_T < lengths[:, None]).long() - 1
        prompts = replace(part(model, TOKENS_BT, 0, 7), segments=segments_BT)
        _, state = model.step(prompts, model.start(2, torch.device("cpu"), torch.float64))
        for step in range(rest):
            place_B = lengths + step
            ids_BT = TOKENS_BT.gather(1, place_B[:, None])
            hidden, state = model.step(model.embed(ids_BT, positions_BT=place_B[:, None]), state)
            for row in (0, 1):
                alone = model(TOKENS_BT[row : row + 1, : place_B[row] + 1]).x
                require_close(hidden.x[row, -1], alone[0, -1], 1e-10)


@pytest.mark.parametrize("plan", [[], [{"cross": False}, {"cross": True}]], ids=["all", "some"])
@pytest.mark.parametrize("is_ragged", [False, True], ids=["whole", "padded"])
def test_a_memory_is_recalled_as_it_is_attended_to(model_of: ModelOf, plan: list[Any], is_ragged: bool) -> None:
    encoder = model_of(visibility="bidirectional").eval()
    decoder = model_of(cross=True, plan=plan, **GPT2).eval()
    keep_BS = torch.arange(9) < torch.tensor([[9], [4]])
    with torch.no_grad():
        memory = encoder(TOKENS_BT[:, :9], keep_BS.long() - 1 if is_ragged else None)
        found, _ = in_pieces(decoder, TOKENS_BT, [0, 4, *range(5, 15)], memory)
        require_close(found, decoder(TOKENS_BT, memory=memory).x, 1e-10)
        other = encoder(TOKENS_BT[:, :9].flip(1), keep_BS.long() - 1 if is_ragged else None)
        assert not torch.allclose(in_pieces(decoder, TOKENS_BT, [0, 14], other)[0], found)


@pytest.mark.parametrize("visibility", ["bidirectional", "prefix", "context"])
def test_models_whose_tokens_see_later_ones_do_not_start(model_of: ModelOf, visibility: str) -> None:
    with pytest.raises(ValueError, match=f"visibility: {visibility} cannot go token by token"):
        model_of(visibility=visibility).start(1, torch.device("cpu"), torch.float64)
