"""What families of images have in common: the encoder of Dosovitskiy et al. 2021, its names and its limits."""

from __future__ import annotations

from typing import Any

from configs.errors import ConfigError
from model.embedders.options import PatchesOptions
from model.interop.family import ANY, HEADS, Config, Description, Rename, attention_bias, differences, head_differences
from model.mixers.options import AttentionOptions
from model.options import FeedForwardKind, PoolerOptions, TransformerOptions
from model.positions.options import AnyPositions, LearnedPositions

ACTIVATIONS: dict[str, FeedForwardKind] = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
}
THEIR_ACTIVATIONS = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-12,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "qkv_bias": True,
}
"config.json leaves out what is the default of its class: these, in most families."

EMBEDDINGS = (
    Rename("embeddings.cls_token", "embedder.cls.weight", lead=1),
    Rename("embeddings.mask_token", "embedder.mask_token.weight", lead=1),
    Rename("embeddings.patch_embeddings.projection.{leaf}", "embedder.projection.{leaf}"),
)
POSITIONS = Rename("embeddings.position_embeddings", "position_embedding.table.weight", lead=1)
FINAL_NORM = Rename("layernorm.{leaf}", "norm.{leaf}")
POOLER = (Rename("pooler.dense.{leaf}", "dense.{leaf}"),)


def attention_names(theirs: str, ours: str) -> tuple[Rename, ...]:
    """The projections of the block `theirs`, which is our `ours`."""
    parts = {"query": "attention.query", "key": "attention.key", "value": "attention.value", "output": "output.dense"}
    return tuple(
        Rename(f"{theirs}.attention.{name}.{{leaf}}", f"{ours}.mixer.{part}.{{leaf}}") for part, name in parts.items()
    )


def block_names(theirs: str, ours: str) -> tuple[Rename, ...]:
    """All of the block `theirs` of a ViT, which is our `ours`."""
    return (
        *attention_names(theirs, ours),
        Rename(f"{theirs}.layernorm_before.{{leaf}}", f"{ours}.mixer_branch.norm.{{leaf}}"),
        Rename(f"{theirs}.layernorm_after.{{leaf}}", f"{ours}.feed_forward_branch.norm.{{leaf}}"),
        Rename(f"{theirs}.intermediate.dense.{{leaf}}", f"{ours}.feed_forward.up.{{leaf}}"),
        Rename(f"{theirs}.output.dense.{{leaf}}", f"{ours}.feed_forward.down.{{leaf}}"),
    )


BLOCKS = block_names("encoder.layer.{layer}", "blocks.{layer}")


def patches(config: Config, **changes: Any) -> PatchesOptions:
    """The embedder that a config.json describes."""
    sizes: dict[str, Any] = {key: _sides(config[key]) for key in ("image_size", "patch_size")}
    return PatchesOptions(channels=config["num_channels"], **sizes, **changes)


def sizes(embedder: PatchesOptions) -> dict[str, Any]:
    """The keys of that embedder."""
    return {
        "image_size": _plain(embedder.image_size),
        "patch_size": _plain(embedder.patch_size),
        "num_channels": embedder.channels,
    }


def activation(config: Config) -> FeedForwardKind:
    """The feed-forward layer that a config.json describes."""
    name = config["hidden_act"]
    if name not in ACTIVATIONS:
        raise ConfigError(f"hidden_act {name}: known are {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


def mixer(config: Config, num_heads: int) -> AttentionOptions:
    """The mixer that a config.json describes."""
    biases: dict[str, Any] = {} if config["qkv_bias"] else {"bias": False, "output_bias": True}
    return AttentionOptions(num_heads=num_heads, dropout=config["attention_probs_dropout_prob"], **biases)


def encoder(config: Config, embedder: PatchesOptions, positions: AnyPositions, **changes: Any) -> TransformerOptions:
    """The transformer that a config.json, all its defaults filled in, describes."""
    keys: dict[str, Any] = {
        "mixer": mixer(config, config["num_attention_heads"]),
        "hidden_dim": config.get("intermediate_size"),
        "feed_forward": activation(config),
    }
    return TransformerOptions(
        embedder=embedder,
        positions=positions,
        dim=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        norm="layer",
        norm_eps=config["layer_norm_eps"],
        visibility="bidirectional",
        bias=True,
        dropout=float(config["hidden_dropout_prob"]),
        **(keys | changes),
    )


def pooler(config: Config) -> PoolerOptions:
    """The pooler of a ViT or a DeiT."""
    width = config.get("pooler_output_size")
    return PoolerOptions(
        activation=config.get("pooler_act", "tanh"), width=width if width != config["hidden_size"] else None
    )


def pooler_config(description: Description) -> dict[str, Any]:
    """The keys of that pooler."""
    head = description.head
    assert isinstance(head, PoolerOptions)
    return {"pooler_output_size": head.width or description.model.dim, "pooler_act": head.activation}


def pooler_misfits(description: Description) -> list[str]:
    """Why a head is not that pooler."""
    return head_differences(
        description, {"kind": "pooler", "activation": ("tanh", "relu", "gelu"), "width": ANY}, needed=True
    )


def encoder_config(description: Description, model_type: str, architecture: str) -> dict[str, Any]:
    """The keys of config.json that most families have."""
    model = description.model
    assert isinstance(model.embedder, PatchesOptions)
    return {
        "model_type": model_type,
        "architectures": [architecture],
        "hidden_size": model.dim,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.mixer.num_heads,
        "intermediate_size": model.hidden_width,
        "hidden_act": THEIR_ACTIVATIONS.get(model.feed_forward, "gelu"),
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.mixer.dropout,
        "layer_norm_eps": model.norm_eps,
        "qkv_bias": attention_bias(model.mixer, model),
        **sizes(model.embedder),
    }


PATCHES: dict[str, Any] = {"kind": "patches", "image_size": ANY, "patch_size": ANY, "channels": ANY}
"What most families want of the embedder of images."
MIXER: dict[str, Any] = {**HEADS, "bias": ANY, "output_bias": True}
"Attention whose queries, keys and values have biases or not, as `qkv_bias` says."


def wanted_of(**wanted: Any) -> dict[str, Any]:
    """What these families want of a transformer, as for `differences`: a plain one of images, but for `wanted`."""
    plain: dict[str, Any] = {
        "kind": "transformer",
        "embedder": PATCHES,
        "mixer": MIXER,
        "feed_forward": tuple(THEIR_ACTIVATIONS),
        "hidden_dim": ANY,
        "norm": "layer",
        "norm_eps": ANY,
        "positions": LearnedPositions(),
        "bias": True,
        "visibility": "bidirectional",
    }
    return plain | wanted


def encoder_misfits(description: Description, **wanted: Any) -> list[str]:
    """The keys that keep a model from being a ViT with `wanted` changes."""
    return differences(description.model, **wanted_of(**wanted))


def _sides(value: int | list[int] | tuple[int, int]) -> int | tuple[int, ...]:
    return value if isinstance(value, int) else tuple(value)


def _plain(value: int | tuple[int, int]) -> int | list[int]:
    return value if isinstance(value, int) else list(value)
