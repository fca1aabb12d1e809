"""What Llama, Mistral and Qwen3 have in common: rotary positions, RMS norm, SwiGLU, and keys of config.json."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from configs.errors import ConfigError
from model.embedders.options import TextOptions
from model.interop.family import ANY, HEADS, TEXT, Config, Description, differences, head_differences
from model.mixers.options import AttentionOptions
from model.options import LayerGroup, LMHeadOptions, TransformerOptions
from model.positions.options import RotaryPositions, RotaryScaling

_SCALING = {
    "factor": "factor",
    "low_freq_factor": "low_factor",
    "high_freq_factor": "high_factor",
    "original_max_position_embeddings": "original_length",
}
"Their names of the fields of `RotaryScaling`."


def described(
    config: Config,
    architecture: str,
    *,
    windows: Sequence[int | None] = (None,),
    head_dim: int | None = None,
    **mixer: Any,
) -> Description:
    """The model that a config.json describes.

    Args:
        config: config.json.
        architecture: name of the class.
        windows: tokens that a query sees, itself counted, in every layer; a single one is that of all layers.
        head_dim: width of a head, where config.json does not say it; None: hidden_size / num_attention_heads.
        mixer: keys of attention that are the family's own.

    Raises:
        ConfigError: for what we do not compute.
    """
    if config.get("hidden_act", "silu") != "silu":
        raise ConfigError(f"hidden_act {config['hidden_act']}: only silu is computed.")
    heads = config["num_attention_heads"]
    bias, attention_bias = bool(config.get("mlp_bias", False)), bool(config.get("attention_bias", False))
    ours = [_window(size) for size in windows]
    is_uniform = len(set(ours)) == 1
    model = TransformerOptions(
        embedder=TextOptions(vocab_size=config["vocab_size"], max_length=config["max_position_embeddings"]),
        dim=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        hidden_dim=config["intermediate_size"],
        mixer=AttentionOptions.model_validate(
            {
                "num_heads": heads,
                "num_kv_heads": config.get("num_key_value_heads") or heads,
                "head_dim": config.get("head_dim") or head_dim,
                "window": ours[0] if is_uniform else None,
                "bias": None if attention_bias == bias else attention_bias,
                "dropout": float(config.get("attention_dropout") or 0.0),
                **mixer,
            }
        ),
        plan=[] if is_uniform else [_group(window, len(list(same))) for window, same in groupby(ours)],
        positions=_rotary(config),
        norm_eps=config["rms_norm_eps"],
        bias=bias,
    )
    tied = bool(config.get("tie_word_embeddings", False))
    return Description(model, LMHeadOptions(tied=tied) if architecture.endswith("LM") else None)


def common_config(description: Description, family: str, prefix: str) -> dict[str, Any]:
    """The content of config.json that the families share, for the classes called `prefix`Model and -ForCausalLM."""
    model, head = description.model, description.head
    positions = model.positions
    assert isinstance(model.embedder, TextOptions)
    assert isinstance(positions, RotaryPositions)
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": positions.base}
    if positions.scaling is not None:
        rope |= {"rope_type": "llama3", **{key: getattr(positions.scaling, ours) for key, ours in _SCALING.items()}}
    return {
        "model_type": family,
        "architectures": [f"{prefix}Model" if head is None else f"{prefix}ForCausalLM"],
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
        "rope_parameters": rope,
        "rope_theta": positions.base,
        "attention_dropout": model.mixer.dropout,
        "tie_word_embeddings": isinstance(head, LMHeadOptions) and head.tied,
    }


def windows_of(description: Description) -> list[int | None]:
    """Tokens that a query sees in every layer, itself counted."""
    windows: list[int | None] = [getattr(block.mixer, "window", None) for block in description.model.blocks]
    return [None if window is None else window + 1 for window in windows]


def rotary_misfits(
    description: Description, *, mixer: Mapping[str, Any], by_layer: Collection[str] = (), **wanted: Any
) -> list[str]:
    """The keys that keep a model from one of these families.

    Args:
        description: the model and its head.
        mixer: what the family has besides grouped heads of any width.
        by_layer: keys of blocks that may differ from layer to layer.
        wanted: what not all of them have, as for `differences`.
    """
    found = differences(
        description.model,
        by_layer=by_layer,
        embedder=TEXT,
        mixer={**HEADS, "num_kv_heads": ANY, "head_dim": ANY, **mixer},
        hidden_dim=ANY,
        norm_eps=ANY,
        positions={"kind": "rotary", "base": ANY, "scaling": ANY},
        **wanted,
    )
    return found + head_differences(description, {"kind": "lm", "tied": ANY})


def _window(size: int | None) -> int | None:
    """Our window leaves the token itself out."""
    if size is not None and size < 2:
        raise ConfigError(f"sliding_window {size}: a token would see itself alone; not computed.")
    return None if size is None else size - 1


def _group(window: int | None, size: int) -> LayerGroup:
    return LayerGroup(repeat=size) if window is None else LayerGroup(repeat=size, mixer={"window": window})


def _rotary(config: Config) -> RotaryPositions:
    """Positions, in the words of transformers 5 (`rope_parameters`) or before (`rope_theta`, `rope_scaling`)."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise ConfigError(f"rope_type {kind}: only default and llama3 are computed.")
    share = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    if share != 1.0:
        raise ConfigError(f"partial_rotary_factor {share}: only whole heads are rotated.")
    scaling = None
    if kind == "llama3":
        rope = {"original_max_position_embeddings": config["max_position_embeddings"]} | rope
        scaling = RotaryScaling.model_validate({ours: rope[theirs] for theirs, ours in _SCALING.items()})
    return RotaryPositions(base=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0), scaling=scaling)
