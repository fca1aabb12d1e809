"""`BeitModel`: biases on the grid, layer scale, keys without bias (Bao et al. 2022).

Its stochastic depth, which acts only in training, is not computed.
"""

from __future__ import annotations

from typing import Any

from configs.errors import ConfigError
from model.interop import vision
from model.interop.family import ANY, HEADS, Config, Description, Family, Rename, head_differences
from model.mixers.options import AttentionOptions
from model.options import PoolerOptions
from model.positions.options import AnyPositions, GridBiasPositions, LearnedPositions, NoPositions

_DEFAULTS = vision.DEFAULTS | {"layer_scale_init_value": 0.1, "use_mean_pooling": True}
_POSITIONS: dict[str, AnyPositions] = {
    "use_absolute_position_embeddings": LearnedPositions(),
    "use_relative_position_bias": GridBiasPositions(),
    "use_shared_relative_position_bias": GridBiasPositions(shared=True),
}
_LAYER, _BLOCK = "encoder.layer.{layer}", "blocks.{layer}"


def describe(config: Config, _architecture: str) -> Description:
    """The model that a config.json describes."""
    config = _DEFAULTS | dict(config)
    chosen = [key for key in _POSITIONS if config.get(key, False)]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)}: only one kind of positions is computed.")
    averages = config["use_mean_pooling"]
    model = vision.encoder(
        config,
        vision.patches(config, mask_token=config.get("use_mask_token", False)),
        _POSITIONS[chosen[0]] if chosen else NoPositions(),
        mixer=AttentionOptions(
            num_heads=config["num_attention_heads"],
            dropout=config["attention_probs_dropout_prob"],
            key_bias=False,
        ),
        layer_scale=config["layer_scale_init_value"] or None,
        final_norm=None if not averages else False,
    )
    head = PoolerOptions(pool="mean", norm=True, norm_eps=config["layer_norm_eps"], activation=None)
    return Description(model, head if averages else None)


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a BEiT."""
    norm_eps = description.model.norm_eps
    found = vision.encoder_misfits(
        description,
        embedder=vision.PATCHES | {"mask_token": ANY},
        mixer={**HEADS, "key_bias": False},
        positions=(NoPositions(), *_POSITIONS.values()),
        layer_scale=ANY,
        final_norm=description.head is None,
    )
    mean = {"kind": "pooler", "pool": "mean", "norm": True, "norm_eps": norm_eps, "activation": None}
    return found + head_differences(description, mean)


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    model = description.model
    return vision.encoder_config(description, "beit", "BeitModel") | {
        **{key: model.positions == positions for key, positions in _POSITIONS.items()},
        "use_mask_token": getattr(model.embedder, "mask_token", False),
        "use_mean_pooling": description.head is not None,
        "layer_scale_init_value": model.layer_scale or 0.0,
        "drop_path_rate": 0.0,
    }


FAMILY = Family(
    name="beit",
    architectures={"BeitModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(
        *vision.EMBEDDINGS,
        vision.POSITIONS,
        vision.FINAL_NORM,
        *vision.BLOCKS,
        Rename(f"{_LAYER}.lambda_1", f"{_BLOCK}.mixer_branch.scale.weight"),
        Rename(f"{_LAYER}.lambda_2", f"{_BLOCK}.feed_forward_branch.scale.weight"),
        Rename(
            f"{_LAYER}.attention.attention.relative_position_bias.relative_position_bias_table",
            "grid_biases.{layer}.table.weight",
        ),
        Rename("encoder.relative_position_bias.relative_position_bias_table", "grid_bias.table.weight"),
    ),
    head_names=(Rename("pooler.layernorm.{leaf}", "norm.{leaf}"),),
    ignored=(r".*relative_position_index",),
)
