"""`Dinov2Model`: layer scale, a mask token, perhaps a gated feed-forward (Oquab et al. 2024).

Its stochastic depth, which acts only in training, is not computed.
"""

from __future__ import annotations

from typing import Any

from configs.errors import ConfigError
from model.interop import vision
from model.interop.family import ANY, Config, Description, Family, Rename, head_differences
from model.options import TransformerOptions
from model.positions.options import LearnedPositions

DEFAULTS = vision.DEFAULTS | {
    "layer_norm_eps": 1e-6,
    "patch_size": 14,
    "mlp_ratio": 4,
    "layerscale_value": 1.0,
    "use_swiglu_ffn": False,
}
_LAYER, _BLOCK = "encoder.layer.{layer}", "blocks.{layer}"
_GATE = f"{_BLOCK}.feed_forward.gate.weight"
BLOCKS = (
    *vision.attention_names(_LAYER, _BLOCK),
    Rename(f"{_LAYER}.norm1.{{leaf}}", f"{_BLOCK}.mixer_branch.norm.{{leaf}}"),
    Rename(f"{_LAYER}.norm2.{{leaf}}", f"{_BLOCK}.feed_forward_branch.norm.{{leaf}}"),
    Rename(f"{_LAYER}.layer_scale1.lambda1", f"{_BLOCK}.mixer_branch.scale.weight"),
    Rename(f"{_LAYER}.layer_scale2.lambda1", f"{_BLOCK}.feed_forward_branch.scale.weight"),
    Rename(f"{_LAYER}.mlp.fc1.{{leaf}}", f"{_BLOCK}.feed_forward.up.{{leaf}}", excludes=_GATE),
    Rename(f"{_LAYER}.mlp.fc2.{{leaf}}", f"{_BLOCK}.feed_forward.down.{{leaf}}", excludes=_GATE),
    Rename(
        f"{_LAYER}.mlp.weights_in.{{leaf}}",
        (f"{_BLOCK}.feed_forward.gate.{{leaf}}", f"{_BLOCK}.feed_forward.up.{{leaf}}"),
    ),
    Rename(f"{_LAYER}.mlp.weights_out.{{leaf}}", f"{_BLOCK}.feed_forward.down.{{leaf}}", needs=_GATE),
)
NAMES = (vision.POSITIONS, vision.FINAL_NORM, *BLOCKS)


def encoder(config: Config, positions: LearnedPositions, **embedder: Any) -> TransformerOptions:
    """The transformer that a config.json, all its defaults filled in, describes."""
    if config["hidden_dropout_prob"] != 0:
        raise ConfigError(f"hidden_dropout_prob={config['hidden_dropout_prob']}: only 0 is computed.")
    gated: dict[str, Any] = {"feed_forward": "swiglu"} if config["use_swiglu_ffn"] else {}
    return vision.encoder(
        config,
        vision.patches(config, **embedder),
        positions,
        hidden_dim=_hidden_dim(config["hidden_size"], config["mlp_ratio"], gated=bool(gated)),
        layer_scale=float(config["layerscale_value"]),
        **gated,
    )


def encoder_misfits(description: Description, **wanted: Any) -> list[str]:
    """The keys that keep a model from being a DINOv2, but for `wanted`."""
    model = description.model
    found = vision.encoder_misfits(
        description,
        feed_forward=(*vision.THEIR_ACTIVATIONS, "swiglu"),
        hidden_dim=_hidden_dim(model.dim, _ratio(model), gated=model.feed_forward == "swiglu"),
        # It has one, whatever its value.
        layer_scale=model.layer_scale or 1.0,
        **wanted,
    )
    return found + head_differences(description)


def encoder_config(description: Description, model_type: str, architecture: str) -> dict[str, Any]:
    """The content of config.json."""
    model = description.model
    found = vision.encoder_config(description, model_type, architecture)
    del found["intermediate_size"]
    return found | {
        "mlp_ratio": _ratio(model),
        "layerscale_value": model.layer_scale,
        "use_swiglu_ffn": model.feed_forward == "swiglu",
    }


def _hidden_dim(dim: int, ratio: int, *, gated: bool) -> int:
    """The feed-forward width; a gated one keeps two thirds, rounded up to a multiple of 8."""
    hidden = dim * ratio
    return (int(hidden * 2 / 3) + 7) // 8 * 8 if gated else hidden


def _ratio(model: TransformerOptions) -> int:
    """The whole `mlp_ratio` that comes nearest."""
    hidden = model.hidden_width * 3 / 2 if model.feed_forward == "swiglu" else model.hidden_width
    return max(1, int(hidden / model.dim))


def describe(config: Config, _architecture: str) -> Description:
    """The model that a config.json describes."""
    config = DEFAULTS | dict(config)
    return Description(encoder(config, LearnedPositions(), mask_token=config.get("use_mask_token", True)))


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a DINOv2."""
    return encoder_misfits(description, embedder=vision.PATCHES | {"mask_token": ANY})


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    mask_token = getattr(description.model.embedder, "mask_token", False)
    return encoder_config(description, "dinov2", "Dinov2Model") | {"use_mask_token": mask_token}


FAMILY = Family(
    name="dinov2",
    architectures={"Dinov2Model": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(
        # Its mask token has one dimension less than those of the other families.
        Rename("embeddings.mask_token", "embedder.mask_token.weight"),
        *(name for name in vision.EMBEDDINGS if name.theirs != "embeddings.mask_token"),
        *NAMES,
    ),
)
