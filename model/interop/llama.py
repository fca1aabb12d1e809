"""`LlamaForCausalLM`: rotary positions, RMS norm, gated feed-forward (Touvron et al. 2023)."""

from __future__ import annotations

from typing import Any

from model.interop.family import ANY, Config, Description, Family, Rename, attention_bias
from model.interop.rotary_decoders import common_config, described, rotary_misfits

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
    return described(config, architecture)


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a Llama."""
    return rotary_misfits(description, mixer={"bias": ANY}, bias=ANY)


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    return common_config(description, "llama", "Llama") | {
        "attention_bias": attention_bias(description.model.mixer, description.model),
        "mlp_bias": description.model.bias,
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
