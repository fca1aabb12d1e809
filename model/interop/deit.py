"""`DeiTModel`: a ViT with a second token in front, for distillation (Touvron et al. 2021a)."""

from __future__ import annotations

from typing import Any

from model.interop import vision
from model.interop.family import Config, Description, Family, Rename
from model.positions.options import LearnedPositions


def describe(config: Config, _architecture: str) -> Description:
    """The model that a config.json describes."""
    config = vision.DEFAULTS | dict(config)
    model = vision.encoder(config, vision.patches(config, num_extra=1), LearnedPositions())
    return Description(model, vision.pooler(config))


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a DeiT."""
    embedder = vision.PATCHES | {"num_extra": 1}
    return vision.encoder_misfits(description, embedder=embedder) + vision.pooler_misfits(description)


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    return vision.encoder_config(description, "deit", "DeiTModel") | vision.pooler_config(description)


FAMILY = Family(
    name="deit",
    architectures={"DeiTModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(
        *vision.EMBEDDINGS,
        Rename("embeddings.distillation_token", "embedder.extra.weight", lead=1),
        vision.POSITIONS,
        vision.FINAL_NORM,
        *vision.BLOCKS,
    ),
    head_names=vision.POOLER,
)
