"""`BartForConditionalGeneration`: learned positions, norms after the branches, GELU (Lewis et al. 2020)."""

from __future__ import annotations

from typing import Any

from model.interop import encoder_decoders
from model.interop.encoder_decoders import Described
from model.interop.family import ANY, TEXT, Config, Family
from model.options import EncoderDecoderOptions
from model.positions.options import LearnedPositions


def describe(config: Config, architecture: str) -> Described:
    """The model that a config.json describes."""
    return encoder_decoders.described(
        config, architecture, norm_place="post", embedding_norm=True, positions=LearnedPositions(offset=2)
    )


def config(description: Described) -> dict[str, Any]:
    """The content of config.json."""
    return encoder_decoders.common_config(description, "bart", "Bart")


def misfits(description: Described) -> list[str]:
    """The keys that keep a model from being a BART."""
    return encoder_decoders.misfits(
        description,
        # One length for both tables of positions.
        embedder={**TEXT, "scaled": ANY, "max_length": encoder_decoders.longest_of(description.model)},
        norm_place="post",
        embedding_norm=True,
        positions=LearnedPositions(offset=2),
    )


FAMILY: Family[EncoderDecoderOptions] = Family(
    name="bart",
    architectures={"BartForConditionalGeneration": "model.", "BartModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    describes=EncoderDecoderOptions,
    names=encoder_decoders.NAMES,
    ignored=encoder_decoders.COPIES,
    zeros=(encoder_decoders.BIAS,),
)
