"""`Qwen3ForCausalLM`: Llama with normed queries and keys, and windows in some layers (Yang et al. 2025)."""

from __future__ import annotations

from typing import Any

from configs.errors import ConfigError
from model.interop.family import ANY, Config, Description, Family, Rename, attention_bias
from model.interop.llama import HEAD_NAMES, NAMES
from model.interop.rotary_decoders import common_config, described, rotary_misfits, windows_of

_SLIDING, _FULL = "sliding_attention", "full_attention"
_NORMS = tuple(
    Rename(f"layers.{{layer}}.self_attn.{theirs}_norm.weight", f"blocks.{{layer}}.mixer.{ours}_norm.weight")
    for theirs, ours in {"q": "query", "k": "key"}.items()
)


def describe(config: Config, architecture: str) -> Description:
    """The model that a config.json describes."""
    return described(config, architecture, windows=_windows(config), head_dim=128, qk_norm="rms")


def _windows(config: Config) -> list[int | None]:
    """The window of every layer: from `layer_types`, or in all layers from `max_window_layers` on."""
    size = config.get("sliding_window", 4096) if config.get("use_sliding_window", False) else None
    first, num_layers = config.get("max_window_layers", 28), config["num_hidden_layers"]
    types = config.get("layer_types") or [
        _SLIDING if size is not None and layer >= first else _FULL for layer in range(num_layers)
    ]
    if len(types) != num_layers or not set(types) <= {_SLIDING, _FULL}:
        raise ConfigError(f"layer_types {types}: expected {_SLIDING} or {_FULL} for each of {num_layers} layers.")
    if size is None and _SLIDING in types:
        raise ConfigError(f"layer_types has {_SLIDING}, but use_sliding_window or sliding_window is not set.")
    return [size if kind == _SLIDING else None for kind in types]


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a Qwen3."""
    mixer = {"window": ANY, "bias": ANY, "qk_norm": "rms"}
    found = rotary_misfits(description, mixer=mixer, by_layer=("mixer.window",))
    if len(set(windows_of(description)) - {None}) > 1:
        found.append("model.plan: several windows")
    return found


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    windows = windows_of(description)
    return common_config(description, "qwen3", "Qwen3") | {
        "attention_bias": attention_bias(description.model.mixer, description.model),
        "use_sliding_window": any(windows),
        "sliding_window": max((window for window in windows if window is not None), default=None),
        # What layer_types say goes before this.
        "max_window_layers": len(windows),
        "layer_types": [_FULL if window is None else _SLIDING for window in windows],
    }


FAMILY = Family(
    name="qwen3",
    architectures={"Qwen3ForCausalLM": "model.", "Qwen3Model": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(*NAMES, *_NORMS),
    head_names=HEAD_NAMES,
    ignored=(r".*rotary_emb\.inv_freq",),
)
