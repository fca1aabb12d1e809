"""`CLIPModel`: an image and a text encoder in one space (Radford et al. 2021)."""

from __future__ import annotations

from typing import Any

from model.embedders.options import PatchesOptions, TextOptions
from model.interop import vision
from model.interop.family import ANY, HEADS, TEXT, Config, Description, Family, Rename, differences, head_differences
from model.mixers.options import AttentionOptions
from model.options import TransformerOptions, TwoTowerOptions
from model.positions.options import LearnedPositions

_TOWER: dict[str, Any] = {
    "num_hidden_layers": 12,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "attention_dropout": 0.0,
}
_TEXT: dict[str, Any] = _TOWER | {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "eos_token_id": 49407,
}
_IMAGE: dict[str, Any] = _TOWER | {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
}
_LARGEST_ID = 2
"Older configurations give 2 as eos_token_id, and transformers then takes the largest id of a text for its end."


def describe(config: Config, _architecture: str) -> Description[TwoTowerOptions]:
    """The model that a config.json describes."""
    image, text = _IMAGE | dict(config["vision_config"]), _TEXT | dict(config["text_config"])
    embedder = TextOptions(vocab_size=text["vocab_size"], max_length=text["max_position_embeddings"])
    return Description(
        TwoTowerOptions(
            image=_tower(image, vision.patches(image, bias=False), visibility="bidirectional", embedding_norm=True),
            text=_tower(text, embedder, visibility="causal"),
            width=config.get("projection_dim", 512),
            logit_scale=float(config.get("logit_scale_init_value", 2.6592)),
            end_token=None if text["eos_token_id"] == _LARGEST_ID else text["eos_token_id"],
        )
    )


def misfits(description: Description[TwoTowerOptions]) -> list[str]:
    """The keys that keep a model from being a CLIP."""
    image = vision.wanted_of(embedder=vision.PATCHES | {"bias": False}, mixer=HEADS, embedding_norm=True)
    text = vision.wanted_of(embedder=TEXT, mixer=HEADS, visibility="causal")
    found = differences(description.model, image=image, text=text, width=ANY, logit_scale=ANY, end_token=ANY)
    if description.model.end_token == _LARGEST_ID:
        found.append(f"model.end_token={_LARGEST_ID}, which stands for the largest id")
    return found + head_differences(description)


def config(description: Description[TwoTowerOptions]) -> dict[str, Any]:
    """The content of config.json."""
    towers = description.model
    embedder, patches = towers.text.embedder, towers.image.embedder
    assert isinstance(embedder, TextOptions)
    assert isinstance(patches, PatchesOptions)
    text = _tower_config(towers.text) | {
        "vocab_size": embedder.vocab_size,
        "max_position_embeddings": embedder.max_length,
        "eos_token_id": _LARGEST_ID if towers.end_token is None else towers.end_token,
    }
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": towers.width,
        "logit_scale_init_value": towers.logit_scale,
        "text_config": {"model_type": "clip_text_model"} | text,
        "vision_config": {"model_type": "clip_vision_model"} | _tower_config(towers.image) | vision.sizes(patches),
    }


def _tower(config: Config, embedder: PatchesOptions | TextOptions, **changes: Any) -> TransformerOptions:
    return TransformerOptions(
        embedder=embedder,
        positions=LearnedPositions(),
        dim=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        hidden_dim=config["intermediate_size"],
        mixer=AttentionOptions(num_heads=config["num_attention_heads"], dropout=float(config["attention_dropout"])),
        feed_forward=vision.activation(config),
        norm="layer",
        norm_eps=config["layer_norm_eps"],
        bias=True,
        **changes,
    )


def _tower_config(tower: TransformerOptions) -> dict[str, Any]:
    return {
        "hidden_size": tower.dim,
        "num_hidden_layers": tower.num_layers,
        "intermediate_size": tower.hidden_width,
        "num_attention_heads": tower.mixer.num_heads,
        "attention_dropout": tower.mixer.dropout,
        "hidden_act": vision.THEIR_ACTIVATIONS[tower.feed_forward],
        "layer_norm_eps": tower.norm_eps,
    }


def _blocks(theirs: str, ours: str) -> tuple[Rename, ...]:
    layer, block = f"{theirs}.encoder.layers.{{layer}}", f"{ours}.blocks.{{layer}}"
    parts = {
        "self_attn.q_proj": "mixer.query",
        "self_attn.k_proj": "mixer.key",
        "self_attn.v_proj": "mixer.value",
        "self_attn.out_proj": "mixer.output",
        "layer_norm1": "mixer_branch.norm",
        "layer_norm2": "feed_forward_branch.norm",
        "mlp.fc1": "feed_forward.up",
        "mlp.fc2": "feed_forward.down",
    }
    return tuple(Rename(f"{layer}.{name}.{{leaf}}", f"{block}.{part}.{{leaf}}") for name, part in parts.items())


FAMILY: Family[TwoTowerOptions] = Family(
    name="clip",
    architectures={"CLIPModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    describes=TwoTowerOptions,
    names=(
        Rename("logit_scale", "scale.weight", lead=-1),
        Rename("visual_projection.weight", "image_projection.weight"),
        Rename("text_projection.weight", "text_projection.weight"),
        Rename("vision_model.embeddings.class_embedding", "image.embedder.cls.weight", lead=-1),
        Rename("vision_model.embeddings.patch_embedding.weight", "image.embedder.projection.weight"),
        Rename("vision_model.embeddings.position_embedding.weight", "image.position_embedding.table.weight"),
        # Spelt so in the files.
        Rename("vision_model.pre_layrnorm.{leaf}", "image.embedding_norm.{leaf}"),
        Rename("vision_model.post_layernorm.{leaf}", "image.norm.{leaf}"),
        *_blocks("vision_model", "image"),
        Rename("text_model.embeddings.token_embedding.weight", "text.embedder.tokens.weight"),
        Rename("text_model.embeddings.position_embedding.weight", "text.position_embedding.table.weight"),
        Rename("text_model.final_layer_norm.{leaf}", "text.norm.{leaf}"),
        *_blocks("text_model", "text"),
    ),
    ignored=(r".*\.position_ids",),
)
