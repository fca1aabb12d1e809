"""`GPT2LMHeadModel`: learned positions, layer norm with bias, GELU (Radford et al. 2019)."""

from __future__ import annotations

from typing import Any

from configs.errors import ConfigError
from model.embedders.options import TextOptions
from model.interop.family import (
    ANY,
    HEADS,
    TEXT,
    Config,
    Description,
    Family,
    Rename,
    differences,
    head_differences,
)
from model.mixers.options import AttentionOptions
from model.options import LMHeadOptions, TransformerOptions
from model.positions.options import LearnedPositions

_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}
_BLOCK, _H = "blocks.{layer}", "h.{layer}"
_QKV = tuple(f"{_BLOCK}.mixer.{part}.{{leaf}}" for part in ("query", "key", "value"))


def describe(config: Config, architecture: str) -> Description:
    """The model that a config.json describes."""
    activations = {theirs: ours for ours, theirs in _ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh"}
    activation = config.get("activation_function", "gelu_new")
    if activation not in activations:
        raise ConfigError(f"activation_function {activation}: known are {', '.join(activations)}.")
    for key, value in {"scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True}.items():
        if config.get(key, value) != value:
            raise ConfigError(f"{key}={config[key]}: not computed.")
    model = TransformerOptions(
        embedder=TextOptions(vocab_size=config["vocab_size"], max_length=config["n_positions"]),
        dim=config["n_embd"],
        num_layers=config["n_layer"],
        hidden_dim=config.get("n_inner") or 4 * config["n_embd"],
        mixer=AttentionOptions(num_heads=config["n_head"], dropout=config.get("attn_pdrop", 0.1)),
        feed_forward=activations[activation],  # type: ignore[arg-type]
        norm="layer",
        norm_eps=config.get("layer_norm_epsilon", 1e-5),
        positions=LearnedPositions(),
        bias=True,
        dropout=config.get("resid_pdrop", 0.1),
    )
    head = LMHeadOptions(tied=config.get("tie_word_embeddings", True)) if "LMHead" in architecture else None
    return Description(model, head)


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a GPT-2."""
    found = differences(
        description.model,
        embedder=TEXT,
        mixer=HEADS,
        feed_forward=tuple(_ACTIVATIONS),
        hidden_dim=ANY,
        norm="layer",
        norm_eps=ANY,
        positions={"kind": "learned"},
        bias=True,
    )
    return found + head_differences(description, {"kind": "lm", "tied": ANY})


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    model, head = description.model, description.head
    assert isinstance(model.embedder, TextOptions)
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2Model" if head is None else "GPT2LMHeadModel"],
        "vocab_size": model.embedder.vocab_size,
        "n_positions": model.embedder.max_length,
        "n_embd": model.dim,
        "n_layer": model.num_layers,
        "n_head": model.mixer.num_heads,
        "n_inner": model.hidden_width,
        "activation_function": _ACTIVATIONS[model.feed_forward],
        "layer_norm_epsilon": model.norm_eps,
        "resid_pdrop": model.dropout,
        "embd_pdrop": model.dropout,
        "attn_pdrop": model.mixer.dropout,
        "tie_word_embeddings": isinstance(head, LMHeadOptions) and head.tied,
    }


FAMILY = Family(
    name="gpt2",
    architectures={"GPT2LMHeadModel": "transformer.", "GPT2Model": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(
        Rename("wte.weight", "embedder.tokens.weight"),
        Rename("wpe.weight", "position_embedding.table.weight"),
        Rename("ln_f.{leaf}", "norm.{leaf}"),
        Rename(f"{_H}.ln_1.{{leaf}}", f"{_BLOCK}.mixer_branch.norm.{{leaf}}"),
        # GPT-2 stores matrices [in, out].
        Rename(f"{_H}.attn.c_attn.{{leaf}}", _QKV, transposed=True),
        Rename(f"{_H}.attn.c_proj.{{leaf}}", f"{_BLOCK}.mixer.output.{{leaf}}", transposed=True),
        Rename(f"{_H}.ln_2.{{leaf}}", f"{_BLOCK}.feed_forward_branch.norm.{{leaf}}"),
        Rename(f"{_H}.mlp.c_fc.{{leaf}}", f"{_BLOCK}.feed_forward.up.{{leaf}}", transposed=True),
        Rename(f"{_H}.mlp.c_proj.{{leaf}}", f"{_BLOCK}.feed_forward.down.{{leaf}}", transposed=True),
    ),
    head_names=(Rename("lm_head.weight", "output.weight"),),
    ignored=(r".*attn\.(masked_)?bias",),
)
