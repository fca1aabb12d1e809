"""`ViTModel`: patches, learned positions, pre-norm, a pooler (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from typing import Any

from model.interop import vision
from model.interop.family import Config, Description, Family
from model.positions.options import LearnedPositions


def describe(config: Config, _architecture: str) -> Description:
    """The model that a config.json describes."""
    config = vision.DEFAULTS | dict(config)
    model = vision.encoder(config, vision.patches(config), LearnedPositions())
    return Description(model, vision.pooler(config))


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a ViT."""
    return vision.encoder_misfits(description) + vision.pooler_misfits(description)


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    return vision.encoder_config(description, "vit", "ViTModel") | vision.pooler_config(description)


FAMILY = Family(
    name="vit",
    architectures={"ViTModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(*vision.EMBEDDINGS, vision.POSITIONS, vision.FINAL_NORM, *vision.BLOCKS),
    head_names=vision.POOLER,
)
