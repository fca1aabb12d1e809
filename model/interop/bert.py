"""`BertModel` and its classes for pretraining: learned positions, norms after the additions (Devlin et al. 2019)."""

from __future__ import annotations

from typing import Any

from model.interop.family import Config, Description, Family, Rename
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
from model.options import AnyHead, SentencePairOptions

_CLASSES = {"lm": "BertForMaskedLM", "sentence_pair": "BertForPreTraining", "pooler": "BertModel"}
_PARTS = {"dense": "transform.dense", "norm": "transform.LayerNorm"}


def describe(config: Config, architecture: str) -> Description:
    """The model that a config.json describes."""
    config = DEFAULTS | dict(config)
    model = encoder(config)
    if architecture == "BertModel":
        return Description(model, pooler(config))
    tokens = masked_tokens(config, model, transform=model.feed_forward)
    head: AnyHead = SentencePairOptions(tokens=tokens) if architecture == "BertForPreTraining" else tokens
    return Description(model, head)


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    architecture = "BertModel" if description.head is None else _CLASSES[description.head.kind]
    return encoder_config(description, "bert", architecture) | without_pooler(description)


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a BERT."""
    tokens = masked_tokens_wanted(description, transform=None)
    return encoder_misfits(description, tokens, {"kind": "pooler"}, {"kind": "sentence_pair", "tokens": tokens})


FAMILY = Family(
    name="bert",
    architectures={"BertForMaskedLM": "bert.", "BertForPreTraining": "bert.", "BertModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(*EMBEDDINGS, *BRANCHES, *POST_NORMS),
    head_names=(
        POOLER,
        *masked_token_names("cls.predictions", **_PARTS),
        *masked_token_names("cls.predictions", **_PARTS, ours="tokens."),
        Rename("bert.pooler.dense.{leaf}", "pooler.dense.{leaf}"),
        Rename("cls.seq_relationship.{leaf}", "relation.{leaf}"),
    ),
    ignored=(*IGNORED, r"cls\.predictions\.(bias|decoder\.(weight|bias))"),
    computed=lambda description: unused_bias(description, "cls.predictions.bias"),
)
