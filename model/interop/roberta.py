"""`RobertaModel` and `RobertaForMaskedLM`: BERT with other positions and another head (Liu et al. 2019).

Their positions start behind that of padding, so rows of the table stay unused: `pad_token_id` + 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from model.interop.family import POSITIVE, Config, Description, Family
from model.interop.text_encoder import (
    BRANCHES,
    DEFAULTS,
    EMBEDDINGS,
    IGNORED,
    POOLER,
    POST_NORMS,
    encoder,
    encoder_config,
    encoder_misfits,
    masked_token_names,
    masked_tokens,
    masked_tokens_wanted,
    pooler,
    unused_bias,
    without_pooler,
)
from model.options import LMHeadOptions
from model.positions.options import LearnedPositions

OWN_DEFAULTS = {"vocab_size": 50265, "pad_token_id": 1}
HEAD_NAMES = (POOLER, *masked_token_names("lm_head", dense="dense", norm="layer_norm"))
HEAD_IGNORED = (r"lm_head\.(bias|decoder\.(weight|bias))",)


def describe(defaults: Mapping[str, Any], changes: Mapping[str, Any], config: Config, architecture: str) -> Description:
    """The model that a config.json describes.

    Args:
        defaults: of the class, where they are not BERT's.
        changes: keys of the model that are not BERT's.
        config: config.json.
        architecture: name of the class.
    """
    config = DEFAULTS | dict(defaults) | dict(config)
    model = encoder(config, offset=config["pad_token_id"] + 1, **changes)
    return Description(model, masked_tokens(config, model) if architecture.endswith("LM") else pooler(config))


def config(model_type: str, prefix: str, description: Description) -> dict[str, Any]:
    """The content of config.json, for the classes `prefix`Model and -ForMaskedLM."""
    positions = description.model.positions
    assert isinstance(positions, LearnedPositions)
    architecture = f"{prefix}ForMaskedLM" if isinstance(description.head, LMHeadOptions) else f"{prefix}Model"
    keys = encoder_config(description, model_type, architecture) | {"pad_token_id": positions.offset - 1}
    return keys | without_pooler(description)


def misfits(changes: Mapping[str, Any], description: Description) -> list[str]:
    """The keys that keep a model from being a RoBERTa with these `changes`."""
    positions = {"kind": "learned", "offset": POSITIVE}
    heads = (masked_tokens_wanted(description), {"kind": "pooler"})
    return encoder_misfits(description, *heads, positions=positions, **changes)


def roberta(model_type: str, prefix: str, defaults: Mapping[str, Any]) -> Family:
    """The family of RoBERTas `model_type`, with classes called `prefix`Model and -ForMaskedLM."""
    return Family(
        name=model_type,
        architectures={f"{prefix}ForMaskedLM": "roberta.", f"{prefix}Model": ""},
        describe=partial(describe, defaults, {}),
        config=partial(config, model_type, prefix),
        misfits=partial(misfits, {}),
        names=(*EMBEDDINGS, *BRANCHES, *POST_NORMS),
        head_names=HEAD_NAMES,
        ignored=(*IGNORED, *HEAD_IGNORED),
        computed=lambda description: unused_bias(description, "lm_head.bias"),
    )


FAMILY = roberta("roberta", "Roberta", OWN_DEFAULTS)
