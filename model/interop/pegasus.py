"""`PegasusForConditionalGeneration`: sinusoidal positions, norms before the branches (Zhang et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.interop import encoder_decoders
from model.interop.encoder_decoders import Described
from model.interop.family import Config, Family
from model.options import EncoderDecoderOptions
from model.positions.absolute import SinusoidalPositions as SinusoidalModule
from model.positions.options import SinusoidalPositions
from model.tokens import Tokens

_POSITIONS = SinusoidalPositions(layout="halves")


def describe(config: Config, architecture: str) -> Described:
    """The model that a config.json describes."""
    return encoder_decoders.described(config, architecture, positions=_POSITIONS)


def config(description: Described) -> dict[str, Any]:
    """The content of config.json."""
    return encoder_decoders.common_config(description, "pegasus", "Pegasus")


def misfits(description: Described) -> list[str]:
    """The keys that keep a model from being a Pegasus."""
    return encoder_decoders.misfits(description, positions=_POSITIONS)


def computed(description: Described) -> dict[str, Tensor]:
    """The tables of positions."""
    model, architecture = description.model, encoder_decoders.architecture_of(description, "Pegasus")
    places = torch.arange(encoder_decoders.longest_of(model))[None]
    tokens = Tokens(torch.zeros(*places.shape, model.dim), places)
    (table,) = SinusoidalModule(_POSITIONS, model.dim)(tokens)
    prefix = FAMILY.architectures[architecture]
    return {f"{prefix}{side}.embed_positions.weight": table.clone() for side in encoder_decoders.sides_of(model)}


FAMILY: Family[EncoderDecoderOptions] = Family(
    name="pegasus",
    architectures={"PegasusForConditionalGeneration": "model.", "PegasusModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    describes=EncoderDecoderOptions,
    names=encoder_decoders.NAMES,
    ignored=(*encoder_decoders.COPIES, r"(model\.)?(encoder|decoder)\.embed_positions\.weight"),
    zeros=(encoder_decoders.BIAS,),
    computed=computed,
)
