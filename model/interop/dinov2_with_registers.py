"""`Dinov2WithRegistersModel`: a DINOv2 with tokens in front that have no positions (Darcet et al. 2024)."""

from __future__ import annotations

from typing import Any

from model.embedders.options import PatchesOptions
from model.interop import dinov2, vision
from model.interop.family import ANY, Config, Description, Family, Rename
from model.positions.options import LearnedPositions

_DEFAULTS = dinov2.DEFAULTS | {"patch_size": 16, "num_register_tokens": 4}


def describe(config: Config, _architecture: str) -> Description:
    """The model that a config.json describes."""
    config = _DEFAULTS | dict(config)
    embedder = {"mask_token": True, "num_registers": config["num_register_tokens"]}
    return Description(dinov2.encoder(config, LearnedPositions(antialias=True), **embedder))


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a DINOv2 with registers."""
    embedder = vision.PATCHES | {"mask_token": True, "num_registers": ANY}
    return dinov2.encoder_misfits(description, embedder=embedder, positions=LearnedPositions(antialias=True))


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    embedder = description.model.embedder
    assert isinstance(embedder, PatchesOptions)
    found = dinov2.encoder_config(description, "dinov2_with_registers", "Dinov2WithRegistersModel")
    return found | {"num_register_tokens": embedder.num_registers}


FAMILY = Family(
    name="dinov2_with_registers",
    architectures={"Dinov2WithRegistersModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(
        *dinov2.FAMILY.names,
        Rename("embeddings.register_tokens", "embedder.registers.weight", lead=1),
    ),
)
