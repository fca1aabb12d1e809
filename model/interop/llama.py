"""`LlamaForCausalLM`: rotary positions, RMS norm, gated feed-forward (Touvron et al. 2023)."""

from __future__ import annotations

from typing import Any

from configs.errors import ConfigError
from model.embedders.options import TextOptions
from model.interop.family import (
    ANY,
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
from model.positions.options import RotaryPositions

ATTENTION = tuple(
    Rename(f"layers.{{layer}}.self_attn.{theirs}_proj.{{leaf}}", f"blocks.{{layer}}.mixer.{ours}.{{leaf}}")
    for ours, theirs in {"query": "q", "key": "k", "value": "v", "output": "o"}.items()
)
GATED = tuple(
    Rename(f"layers.{{layer}}.mlp.{part}_proj.{{leaf}}", f"blocks.{{layer}}.feed_forward.{part}.{{leaf}}")
    for part in ("gate", "up", "down")
)
NAMES = (
    Rename("embed_tokens.weight", "embedder.tokens.weight"),
    Rename("norm.weight", "norm.weight"),
    Rename("layers.{layer}.input_layernorm.weight", "blocks.{layer}.mixer_branch.norm.weight"),
    Rename("layers.{layer}.post_attention_layernorm.weight", "blocks.{layer}.feed_forward_branch.norm.weight"),
    *ATTENTION,
    *GATED,
)
HEAD_NAMES = (Rename("lm_head.weight", "output.weight"),)


def describe(config: Config, architecture: str) -> Description:
    """The model that a config.json describes."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", "default") != "default":
        raise ConfigError(f"rope_type {rope['rope_type']}: only the default is computed.")
    if config.get("hidden_act", "silu") != "silu":
        raise ConfigError(f"hidden_act {config['hidden_act']}: only silu is computed.")
    heads = config["num_attention_heads"]
    bias = bool(config.get("attention_bias", False))
    if bias != bool(config.get("mlp_bias", False)):
        raise ConfigError("attention_bias and mlp_bias differ: not computed.")
    model = TransformerOptions(
        embedder=TextOptions(vocab_size=config["vocab_size"], max_length=config["max_position_embeddings"]),
        dim=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        hidden_dim=config["intermediate_size"],
        mixer=AttentionOptions(
            num_heads=heads, num_kv_heads=config.get("num_key_value_heads") or heads, head_dim=config.get("head_dim")
        ),
        positions=RotaryPositions(base=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0)),
        norm_eps=config["rms_norm_eps"],
        bias=bias,
    )
    head = LMHeadOptions(tied=config.get("tie_word_embeddings", False)) if architecture.endswith("LM") else None
    return Description(model, head)


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a Llama."""
    model = description.model
    biases = (None, getattr(model, "bias", None))
    mixer = {"kind": "attention", "bias": biases, "key_bias": biases, "output_bias": biases}
    found = differences(
        model,
        embedder=TEXT,
        mixer={**mixer, "num_kv_heads": ANY, "head_dim": ANY},
        hidden_dim=ANY,
        norm_eps=ANY,
        final_norm=(None, True),
        positions={"kind": "rotary", "base": ANY},
        bias=ANY,
    )
    return found + head_differences(description.head, {"kind": "lm", "tied": ANY})


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    model = description.model
    assert isinstance(model.embedder, TextOptions)
    assert isinstance(model.positions, RotaryPositions)
    head = description.head
    return {
        "model_type": "llama",
        "architectures": ["LlamaModel" if head is None else "LlamaForCausalLM"],
        "vocab_size": model.embedder.vocab_size,
        "hidden_size": model.dim,
        "intermediate_size": model.hidden_width,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.mixer.num_heads,
        "num_key_value_heads": model.mixer.kv_heads,
        "head_dim": model.mixer.head_width(model.dim),
        "hidden_act": "silu",
        "max_position_embeddings": model.embedder.max_length,
        "rms_norm_eps": model.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.positions.base},
        "rope_theta": model.positions.base,
        "attention_bias": model.bias,
        "mlp_bias": model.bias,
        "tie_word_embeddings": isinstance(head, LMHeadOptions) and head.tied,
    }


FAMILY = Family(
    name="llama",
    architectures={"LlamaForCausalLM": "model.", "LlamaModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=NAMES,
    head_names=HEAD_NAMES,
    ignored=(r".*rotary_emb\.inv_freq",),
)
