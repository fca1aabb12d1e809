"""Decoder-only families compute what transformers' classes compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.model.interop.parity import Pair, pair_of, ragged, tokens_of

VOCAB = 23
GPT2: dict[str, Any] = {"vocab_size": VOCAB, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 4}
LLAMA: dict[str, Any] = {
    "vocab_size": VOCAB,
    "max_position_embeddings": 16,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHeadModel", GPT2),
    "gpt2-untied-relu": ("GPT2LMHeadModel", GPT2 | {"tie_word_embeddings": False, "activation_function": "relu"}),
    "gpt2-base-inner": ("GPT2Model", GPT2 | {"n_inner": 40, "n_layer": 1, "layer_norm_epsilon": 1e-3}),
    "llama": ("LlamaForCausalLM", LLAMA),
    "llama-gqa-tied": ("LlamaForCausalLM", LLAMA | {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "llama-mqa-bias": (
        "LlamaForCausalLM",
        LLAMA | {"num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True},
    ),
    "llama-wide-heads": ("LlamaModel", LLAMA | {"head_dim": 6, "rms_norm_eps": 1e-3}),
}


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest) -> Pair:
    import transformers

    name, config = CASES[request.param]
    cls = getattr(transformers, name)
    return pair_of(cls(cls.config_class(**config, attn_implementation="eager")))


@pytest.mark.parametrize(("shape", "lengths"), [((2, 12), [12, 12]), ((3, 9), [9, 4, 1]), ((1, 16), [16])])
def test_outputs_and_gradients_are_the_same(pair: Pair, shape: tuple[int, int], lengths: list[int]) -> None:
    tokens = tokens_of(shape, VOCAB)
    keep, mask, segments = ragged(lengths, shape[1])
    hidden = pair.ours.transformer(tokens, segments)
    theirs = pair.theirs(tokens, attention_mask=mask)
    if hasattr(pair.ours, "head"):
        pair.require_same(pair.ours.logits(hidden), theirs.logits, keep)
    else:
        pair.require_same(hidden.x, theirs.last_hidden_state, keep)


def test_a_row_without_padding_needs_no_segments(pair: Pair) -> None:
    tokens = tokens_of((2, 7), VOCAB)
    torch.testing.assert_close(
        pair.ours.transformer(tokens).x, pair.ours.transformer(tokens, torch.zeros_like(tokens)).x, rtol=1e-5, atol=1e-5
    )


def test_round_trip(pair: Pair, tmp_path: Path) -> None:
    pair.require_round_trip(tmp_path)
