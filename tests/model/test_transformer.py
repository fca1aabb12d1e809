from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.transformer import Transformer

ModelOf = Callable[..., Transformer]

TOKENS_BT = torch.randint(0, 23, (2, 12), generator=torch.Generator().manual_seed(0))
SEGMENTS_BT = torch.tensor([[0] * 5 + [1] * 1 + [2] * 6, [0] * 12])

LLAMA: dict[str, object] = {"mixer": {"num_kv_heads": 2}}
GPT2: dict[str, object] = {"norm": "layer", "positions": "learned", "feed_forward": "gelu", "bias": True}
SHAPES = pytest.mark.parametrize("shape", [LLAMA, GPT2], ids=["llama", "gpt2"])


def gradients(output: Tensor, model: Transformer) -> list[Tensor]:
    upstream = torch.randn(output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(1))
    return list(torch.autograd.grad(output, list(model.parameters()), upstream))


def documents(segments_T: Tensor) -> list[slice]:
    firsts = [0, *(int(place) + 1 for place in (segments_T[1:] != segments_T[:-1]).nonzero()), len(segments_T)]
    return [slice(first, last) for first, last in itertools.pairwise(firsts)]


@SHAPES
def test_packed_documents_equal_documents_run_one_by_one(model_of: ModelOf, shape: dict[str, object]) -> None:
    model = model_of(**shape)
    packed = model(TOKENS_BT, SEGMENTS_BT).x
    alone = torch.stack(
        [
            torch.cat([model(tokens_T[None, part]).x[0] for part in documents(segments_T)])
            for tokens_T, segments_T in zip(TOKENS_BT, SEGMENTS_BT, strict=True)
        ]
    )
    torch.testing.assert_close(packed, alone, rtol=1e-9, atol=1e-9)
    for mine, theirs in zip(gradients(packed, model), gradients(alone, model), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8)


@SHAPES
def test_joined_documents_ignore_segments(model_of: ModelOf, shape: dict[str, object]) -> None:
    joined = model_of(documents="joined", **shape)
    assert torch.equal(joined(TOKENS_BT, SEGMENTS_BT).x, joined(TOKENS_BT).x)
    separate = model_of(documents="separate", **shape)
    assert torch.equal(separate(TOKENS_BT).x, joined(TOKENS_BT).x)
    # Segments do matter where documents are kept apart.
    assert not torch.allclose(separate(TOKENS_BT, SEGMENTS_BT).x[0, 5:], joined(TOKENS_BT).x[0, 5:])


@SHAPES
def test_one_segment_means_the_same_as_no_segments(model_of: ModelOf, shape: dict[str, object]) -> None:
    model = model_of(**shape)
    with_mask = model(TOKENS_BT, torch.full_like(TOKENS_BT, 4)).x
    torch.testing.assert_close(with_mask, model(TOKENS_BT).x, rtol=1e-10, atol=1e-10)


@SHAPES
@pytest.mark.parametrize("place", [1, 6, 11])
def test_a_later_token_never_changes_an_earlier_hidden_state(
    model_of: ModelOf, shape: dict[str, object], place: int
) -> None:
    model, changed_BT = model_of(**shape), TOKENS_BT.clone()
    changed_BT[:, place] = (changed_BT[:, place] + 1) % 23
    before, after = model(TOKENS_BT).x, model(changed_BT).x
    torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-12)
    assert (after[:, place:] - before[:, place:]).abs().amax(-1).min() > 1e-6


@SHAPES
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputed_blocks_give_identical_outputs_and_gradients(
    model_of: ModelOf, shape: dict[str, object], dropout: float
) -> None:
    model = model_of(dropout=dropout, **shape).train()
    results = []
    for model.recompute_blocks in (False, True):
        torch.manual_seed(0)  # of dropout
        output = model(TOKENS_BT, SEGMENTS_BT).x
        results.append([output, *gradients(output, model)])
    assert all(torch.equal(kept, recomputed) for kept, recomputed in zip(*results, strict=True))


def test_recomputing_runs_every_block_again_backward(model_of: ModelOf) -> None:
    model = model_of().train()
    runs = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda *_: runs.append(1))
    model.recompute_blocks = True
    model(TOKENS_BT).x.sum().backward()
    assert len(runs) == 4
    runs.clear()
    model.recompute_blocks = False
    model(TOKENS_BT).x.sum().backward()
    assert len(runs) == 2


def test_dropout_acts_in_training_only(model_of: ModelOf) -> None:
    model, plain = model_of(dropout=0.5), model_of()
    assert torch.equal(model.eval()(TOKENS_BT).x, plain(TOKENS_BT).x)
    assert not torch.allclose(model.train()(TOKENS_BT).x, plain(TOKENS_BT).x)


def test_learned_positions_restart_with_every_document(model_of: ModelOf) -> None:
    model = model_of(positions="learned", num_layers=1)
    twice_BT = TOKENS_BT[:1, :4].repeat(1, 2)
    hidden_BTD = model(twice_BT, torch.tensor([[0] * 4 + [1] * 4])).x
    torch.testing.assert_close(hidden_BTD[:, :4], hidden_BTD[:, 4:], rtol=0, atol=1e-12)
    assert not torch.allclose(model(twice_BT).x[:, :4], model(twice_BT).x[:, 4:])


def test_the_order_of_earlier_tokens_matters(model_of: ModelOf) -> None:
    # One layer of attention without positions could not tell.
    for positions in ("rotary", "learned"):
        model, swapped_BT = model_of(positions=positions, num_layers=1), TOKENS_BT.clone()
        swapped_BT[:, [0, 1]] = swapped_BT[:, [1, 0]]
        assert not torch.allclose(model(swapped_BT).x[:, -1], model(TOKENS_BT).x[:, -1])


def test_embedding_as_head_is_the_product_with_its_weight(model_of: ModelOf) -> None:
    embedding = model_of().embedder.tokens
    hidden_BTD = torch.randn(2, 3, 16, dtype=torch.float64)
    torch.testing.assert_close(embedding(hidden_BTD, as_head=True), hidden_BTD @ embedding.weight.T)
    assert torch.equal(embedding(TOKENS_BT), embedding.weight[TOKENS_BT])
