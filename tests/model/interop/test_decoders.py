"""Decoder-only families compute what transformers' classes compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor

from configs.errors import ConfigError
from model.interop.described import DescribedModel
from model.interop.families import exported, family, family_of
from model.interop.family import Description
from model.options import LMHeadOptions, TransformerOptions
from tests.model.interop.parity import Pair, pair_of, ragged, relative_distance, tokens_of

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
QWEN3 = LLAMA | {"head_dim": 6, "num_key_value_heads": 2}
# Slow, interpolated and fast frequencies all occur among the pairs of a head of width 8.
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 20.0,
    "factor": 4.0,
    "low_freq_factor": 0.7,
    "high_freq_factor": 2.0,
    "original_max_position_embeddings": 16,
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
    "llama-attention-bias": ("LlamaForCausalLM", LLAMA | {"attention_bias": True}),
    "llama-mlp-bias": ("LlamaForCausalLM", LLAMA | {"mlp_bias": True}),
    "llama-3.1": ("LlamaForCausalLM", LLAMA | {"head_dim": 8, "rope_parameters": LLAMA3}),
    "llama-wide-heads": ("LlamaModel", LLAMA | {"head_dim": 6, "rms_norm_eps": 1e-3}),
    "mistral-window": (
        "MistralForCausalLM",
        LLAMA | {"num_key_value_heads": 2, "sliding_window": 3, "attention_dropout": 0.1},
    ),
    "mistral-full-tied": (
        "MistralForCausalLM",
        LLAMA | {"num_key_value_heads": 4, "sliding_window": None, "tie_word_embeddings": True},
    ),
    "mistral-base": ("MistralModel", LLAMA | {"num_key_value_heads": 1, "head_dim": 6, "sliding_window": 5}),
    "qwen3": ("Qwen3ForCausalLM", QWEN3),
    "qwen3-tied-windows-above": (
        "Qwen3ForCausalLM",
        QWEN3
        | {"tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": 3}
        | {"num_hidden_layers": 3, "max_window_layers": 1},
    ),
    "qwen3-bias-mixed-layers": (
        "Qwen3Model",
        QWEN3
        | {"attention_bias": True, "use_sliding_window": True, "sliding_window": 4, "num_hidden_layers": 3}
        | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
}


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest) -> Pair:
    import transformers

    name, config = CASES[request.param]
    cls = getattr(transformers, name)
    # Not by their eager attention: in float64, its rows of nothing but padding are not numbers, and spread.
    return pair_of(cls(cls.config_class(**config, attn_implementation="sdpa")))


@pytest.mark.parametrize(("shape", "lengths"), [((2, 12), [12, 12]), ((3, 9), [9, 4, 1]), ((1, 16), [16])])
def test_outputs_and_gradients_are_the_same(pair: Pair, shape: tuple[int, int], lengths: list[int]) -> None:
    tokens = tokens_of(shape, VOCAB)
    keep, mask, segments = ragged(lengths, shape[1])

    def outputs(pair: Pair) -> tuple[Tensor, Tensor]:
        hidden = pair.ours.transformer(tokens, segments)
        ours = pair.ours.logits(hidden) if hasattr(pair.ours, "head") else hidden.x
        return ours[keep], pair.theirs(tokens, attention_mask=mask)[0][keep]

    pair.require_same(outputs)


def llama_outputs(pair: Pair) -> tuple[Tensor, Tensor]:
    tokens = tokens_of((2, 12), VOCAB)
    return pair.ours.logits(pair.ours.transformer(tokens)), pair.theirs(tokens).logits


def llama() -> Pair:
    import transformers

    return pair_of(transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA, attn_implementation="sdpa")))


def test_the_comparison_sees_a_small_difference() -> None:
    pair = llama()
    pair.require_same(llama_outputs)
    with torch.no_grad():
        pair.ours.transformer.blocks[0].mixer.query.weight[0, 0] += 1e-3  # type: ignore[union-attr, index]
    with pytest.raises(AssertionError, match="Figures"):
        pair.require_same(llama_outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_comparison_sees_a_difference_in_one_precision_alone(dtype: torch.dtype) -> None:
    pair = llama()

    def off(_module: object, _inputs: object, x_BTD: Tensor) -> Tensor:
        return x_BTD * (1 + 3e-5) if x_BTD.dtype == dtype else x_BTD

    pair.ours.transformer.norm.register_forward_hook(off)  # type: ignore[union-attr]
    with pytest.raises(AssertionError, match="Figures"):
        pair.require_same(llama_outputs)


def test_a_row_without_padding_needs_no_segments(pair: Pair) -> None:
    tokens = tokens_of((2, 7), VOCAB)
    torch.testing.assert_close(
        pair.ours.transformer(tokens).x, pair.ours.transformer(tokens, torch.zeros_like(tokens)).x, rtol=1e-5, atol=1e-5
    )


def test_round_trip(pair: Pair, tmp_path: Path) -> None:
    pair.require_round_trip(tmp_path)


def described(model_type: str, **changes: object) -> Description:
    """What a config.json describes."""
    config = LLAMA | {"rms_norm_eps": 1e-6} | changes
    return family(model_type).describe(config, next(iter(family(model_type).architectures)))


def test_the_words_of_older_files_mean_the_same() -> None:
    scaling = {key: value for key, value in LLAMA3.items() if key not in ("rope_type", "rope_theta")}
    new = described("llama", rope_parameters=LLAMA3)
    assert described("llama", rope_theta=20.0, rope_scaling={"rope_type": "llama3", **scaling}) == new
    assert described("llama", rope_theta=20.0, rope_scaling={"type": "llama3", **scaling}) == new
    assert described("llama", rope_theta=20.0) == described("llama", rope_parameters={"rope_theta": 20.0})
    layers = ["full_attention", "sliding_attention"]
    windows = {"use_sliding_window": True, "sliding_window": 4}
    assert described("qwen3", **windows, max_window_layers=1) == described("qwen3", **windows, layer_types=layers)


@pytest.mark.parametrize(
    ("model_type", "changes", "expected"),
    [
        ("llama", {"hidden_act": "gelu"}, "hidden_act gelu"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type linear"),
        ("llama", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type yarn"),
        ("llama", {"partial_rotary_factor": 0.5}, r"partial_rotary_factor 0\.5"),
        ("mistral", {"sliding_window": 1}, "sliding_window 1"),
        ("qwen3", {"layer_types": ["full_attention"]}, r"layer_types .* each of 2 layers"),
        ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}, "use_sliding_window"),
    ],
    ids=["activation", "linear", "yarn", "partial", "window", "too-few-types", "no-window"],
)
def test_what_is_not_computed_is_refused(model_type: str, changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        described(model_type, **changes)


@pytest.mark.parametrize(
    ("model_type", "changes", "expected"),
    [
        ("qwen3", {"qk_norm": "none"}, ["model.mixer.qk_norm=none"]),
        ("qwen3", {"softcap": 5.0}, ["model.mixer.softcap=5.0"]),
        ("qwen3", {"window": 3}, []),
        ("mistral", {"window": 3}, []),
        ("mistral", {"bias": True}, ["model.mixer.bias=True"]),
        ("mistral", {"qk_norm": "rms"}, ["model.mixer.qk_norm=rms"]),
    ],
    ids=["norm", "softcap", "window", "mistral-window", "mistral-bias", "mistral-norm"],
)
def test_other_mixers_do_not_fit(model_type: str, changes: dict[str, object], expected: list[str]) -> None:
    found = described(model_type)
    mixer = found.model.mixer.model_copy(update=changes)
    model = TransformerOptions.model_validate(found.model.tree() | {"mixer": mixer.tree()})
    assert family(model_type).misfits(Description(model, found.head)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"norm_place": "post"}, ["model.norm_place=post"]),
        ({"parallel": True}, ["model.parallel=True"]),
        ({"positions": "alibi"}, ["model.positions=alibi"]),
        ({"plan": [{"times": 2}]}, ["model.plan: layers are run several times, or not at all"]),
        ({"plan": [{}, {"mixer": {"window": 4}}]}, []),
        ({"plan": [{"mixer": {"window": 3}}, {"mixer": {"window": 4}}]}, ["model.plan: several windows"]),
        ({"plan": [{}, {"hidden_dim": 8}]}, ["model.plan: layers differ in hidden_dim"]),
        ({"plan": [{"hidden_dim": 8}]}, ["model.plan: layers differ in hidden_dim"]),
    ],
    ids=["post", "parallel", "alibi", "loop", "windows", "several-windows", "widths", "another-width"],
)
def test_other_models_are_no_qwen3(changes: dict[str, object], expected: list[str]) -> None:
    found = described("qwen3")
    model = TransformerOptions.model_validate(found.model.tree() | changes)
    assert family("qwen3").misfits(Description(model, found.head)) == expected


LIKE_LLAMA: dict[str, Any] = {
    "embedder": {"kind": "text", "vocab_size": VOCAB, "max_length": 16},
    "dim": 16,
    "num_layers": 2,
    "positions": "rotary",
}
CHOICES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("Llama", {}),
    "biases": ("Llama", {"bias": True}),
    "window": ("Mistral", {"window": 3}),
    "normed": ("Qwen3", {"qk_norm": "rms"}),
    "normed-window": ("Qwen3", {"qk_norm": "rms", "window": 3}),
}


@pytest.mark.parametrize("head", [None, LMHeadOptions(tied=True), LMHeadOptions(tied=False)], ids=str)
@pytest.mark.parametrize("name", CHOICES)
def test_a_model_is_exported_to_the_family_that_computes_it(
    name: str, head: LMHeadOptions | None, tmp_path: Path
) -> None:
    import transformers

    prefix, mixer = CHOICES[name]
    tree = LIKE_LLAMA | {"mixer": {"kind": "attention", "num_heads": 4, "num_kv_heads": 2, **mixer}}
    ours = DescribedModel(Description(TransformerOptions.model_validate(tree), head))
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(0.05, 0.2)
    chosen = family_of(ours.description)
    config = chosen.config(ours.description)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_torch_state_dict(exported(dict(ours.named_parameters()), chosen, config["architectures"][0]), tmp_path)
    auto = transformers.AutoModel if head is None else transformers.AutoModelForCausalLM
    theirs = auto.from_pretrained(tmp_path)
    assert type(theirs).__name__ == prefix + ("Model" if head is None else "ForCausalLM")
    tokens = tokens_of((2, 12), VOCAB)
    with torch.no_grad():
        hidden, expected = ours.transformer(tokens), theirs(tokens)[0]
        assert relative_distance(hidden.x if head is None else ours.logits(hidden), expected) < 1e-5
