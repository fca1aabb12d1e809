"""What families of images have in common: the encoder of Dosovitskiy et al. 2021, its names and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from configs.errors import ConfigError
from model.embedders.options import PatchesOptions
from model.interop.family import Config, Description, Rename
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
    head = description.head
    if not isinstance(head, PoolerOptions):
        return [f"head={head.kind if head else None}"]
    wanted: dict[str, Any] = {"pool": "first", "norm": False}
    found = [f"head.{key}={getattr(head, key)}" for key, value in wanted.items() if getattr(head, key) != value]
    return found if head.activation is not None else [*found, "head.activation=None"]


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
        "qkv_bias": model.mixer.bias is not False,
        **sizes(model.embedder),
    }


_WANTED: dict[str, Any] = {
    "norm": "layer",
    "norm_place": "pre",
    "norm_has_bias": True,
    "bias": True,
    "visibility": "bidirectional",
    "cross": False,
    "parallel": False,
    "mixer_norm": True,
    "layer_scale": None,
    "embedding_dim": None,
    "embedding_norm": False,
    "has_final_norm": True,
    "positions": LearnedPositions(),
    "mixer.window": None,
    "mixer.qk_norm": "none",
    "mixer.softcap": None,
    "mixer.scale": None,
}
IN_FRONT: dict[str, Any] = {
    "embedder.cls": True,
    "embedder.bias": True,
    "embedder.num_extra": 0,
    "embedder.num_registers": 0,
    "embedder.mask_token": False,
}
"What most families want of the embedder of images."


def encoder_misfits(description: Description, wanted: Mapping[str, Any], *, gated: bool = False) -> list[str]:
    """The keys that keep a model from being a ViT with `wanted` changes."""
    return tower_misfits(description.model, "patches", IN_FRONT | dict(wanted), gated=gated)


def tower_misfits(
    model: TransformerOptions, embedder: str, wanted: Mapping[str, Any], *, gated: bool = False
) -> list[str]:
    """The keys that keep a transformer from being the plain one of these families, but for `wanted`."""
    if model.embedder.kind != embedder or model.mixer.kind != "attention":
        return [f"model.embedder={model.embedder.kind}, model.mixer={model.mixer.kind}"]
    both = _WANTED | dict(wanted)
    found = [f"model.{key}={attrgetter(key)(model)}" for key, value in both.items() if attrgetter(key)(model) != value]
    if model.feed_forward not in THEIR_ACTIVATIONS and not (gated and model.feed_forward == "swiglu"):
        found.append(f"model.feed_forward={model.feed_forward}")
    if model.mixer.kv_heads != model.mixer.num_heads:
        found.append(f"model.mixer.num_kv_heads={model.mixer.kv_heads}")
    if model.mixer.head_width(model.dim) * model.mixer.num_heads != model.dim:
        found.append(f"model.mixer.head_dim={model.mixer.head_dim}")
    if any(block != model.blocks[0] for block in model.blocks) or model.order != tuple(range(model.num_layers)):
        found.append("model.plan")
    return found


def _sides(value: int | list[int] | tuple[int, int]) -> int | tuple[int, ...]:
    return value if isinstance(value, int) else tuple(value)


def _plain(value: int | tuple[int, int]) -> int | list[int]:
    return value if isinstance(value, int) else list(value)
