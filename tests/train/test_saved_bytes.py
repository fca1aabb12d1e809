"""What autograd keeps, by kind of module, against counts on paper."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from model.int8.block import to_int8
from model.int8.options import Int8Options
from model.options import TransformerOptions
from model.transformer import Transformer
from train.saved_bytes import SavedBytes

Kind = Literal["float32", "bf16", "autocast", "int8"]
ROWS, LENGTH, DIM, HEADS = 4, 1024, 1024, 16


def saved_by_a_block(kind: Kind) -> dict[str, Any]:
    """Of a standard GPT block: layer norms, attention, GELU, four times as wide within, no biases."""
    options = TransformerOptions.model_validate(
        {
            "embedder": {"kind": "text", "vocab_size": 8, "max_length": LENGTH},
            "dim": DIM,
            "num_layers": 1,
            "mixer": {"kind": "attention", "num_heads": HEADS},
            "feed_forward": "gelu",
            "norm": "layer",
            "positions": "none",
        }
    )
    model = Transformer(options)
    if kind == "int8":
        to_int8(model, Int8Options())
    if kind == "bf16":
        model.bfloat16()
    is_mixed = kind in ("autocast", "int8")
    # As on a GPU, 8-bit blocks have bf16 between them; a CPU can do it too.
    with torch.autocast("cpu", torch.bfloat16) if is_mixed else nullcontext():
        tokens = model.embed(torch.zeros(ROWS, LENGTH, dtype=torch.long))
        places = tokens.places()
        (context,) = model._contexts(tokens, places, places)
        saved = SavedBytes(model.blocks[0], 1)
        with saved.step(1):
            model.blocks[0](tokens.x.detach().requires_grad_(), context)
    return saved.row()


TOKENS = ROWS * LENGTH * DIM
STATISTICS = 0.01
"Norms and attention keep a few numbers for every token."


def test_a_block_in_bf16_keeps_what_is_counted_on_paper() -> None:
    """Xi et al. 2024, section 6: 32 bytes for every number of the stream."""
    assert saved_by_a_block("bf16")["saved_bytes"] / TOKENS == pytest.approx(32, rel=STATISTICS)


def test_a_block_in_8_bits_keeps_at_most_two_thirds() -> None:
    """1.49 times less in Xi et al. 2024, who keep the activation's result too. The rounded weights are in it."""
    found = saved_by_a_block("int8")
    weights = 12 * DIM**2
    in_bf16 = saved_by_a_block("bf16")["saved_bytes"]
    assert found["saved_bytes"] <= 0.66 * in_bf16
    # Norms' inputs and outputs and the heads' results 5, the hidden layer 4, q, k, v and what heads give 8.
    assert (found["saved_bytes"] - weights) / TOKENS == pytest.approx(17, rel=STATISTICS)
    assert set(found["saved_bytes_by"]) == {"Int8Attention", "Int8Linear", "Int8FeedForward", "Int8LayerNorm"}
    assert sum(found["saved_bytes_by"].values()) == found["saved_bytes"] == found["saved_bytes_blocks"]


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


def test_a_storage_counts_once_and_the_last_micro_batch_counts() -> None:
    module = nn.Sequential(nn.Linear(8, 8), Square(), Square())
    saved = SavedBytes(module, 3)
    for step in (2, 3, 4):
        with saved.step(step):
            for rows in (5, 7):
                module(torch.ones(rows, 8)).sum().backward()
        # The input of the linear layer, and of each square; the weight is a parameter.
        by_kind = {"Square": 2 * 7 * 8 * 4, "Linear": 7 * 8 * 4}
        expected = {"saved_bytes": 3 * 7 * 8 * 4, "saved_bytes_blocks": 0, "saved_bytes_by": by_kind}
        assert saved.row() == (expected if step == 3 else {})


def test_nothing_is_counted_unasked() -> None:
    module = nn.Linear(8, 8)
    saved = SavedBytes(module, None)
    with saved.step(1):
        module(torch.ones(5, 8))
    assert saved.row() == {}
    assert not module._forward_hooks
