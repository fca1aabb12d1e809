"""`ElectraForPreTraining`, `ElectraForMaskedLM`, `ElectraModel`: BERT with a narrower embedding (Clark et al. 2020).

The discriminator tells which tokens a generator, a smaller one of the same family, has replaced.
"""

from __future__ import annotations

from typing import Any

from model.interop.family import ANY, Config, Description, Family, Rename
from model.interop.text_encoder import (
    BRANCHES,
    DEFAULTS,
    EMBEDDINGS,
    IGNORED,
    POST_NORMS,
    encoder,
    encoder_config,
    encoder_misfits,
    masked_tokens,
    masked_tokens_wanted,
)
from model.options import ReplacedTokenOptions

_DEFAULTS = DEFAULTS | {"embedding_size": 128, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
_CLASSES = {"lm": "ElectraForMaskedLM", "replaced_token": "ElectraForPreTraining"}


def describe(config: Config, architecture: str) -> Description:
    """The model that a config.json describes."""
    config = _DEFAULTS | dict(config)
    narrow = config["embedding_size"] != config["hidden_size"]
    model = encoder(config, embedding_dim=config["embedding_size"] if narrow else None)
    if architecture == "ElectraModel":
        return Description(model)
    if architecture == "ElectraForPreTraining":
        return Description(model, ReplacedTokenOptions(transform=model.feed_forward))
    return Description(model, masked_tokens(config, model))


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    architecture = "ElectraModel" if description.head is None else _CLASSES[description.head.kind]
    return encoder_config(description, "electra", architecture) | {
        "embedding_size": description.model.width_of_embedder
    }


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being an ELECTRA."""
    model = description.model
    discriminator = {"kind": "replaced_token", "transform": model.feed_forward}
    found = encoder_misfits(description, masked_tokens_wanted(description), discriminator, embedding_dim=ANY)
    if not found and model.embedding_dim == model.dim:
        # Ours projects it, theirs does not.
        found.append(f"model.embedding_dim={model.embedding_dim}, which is model.dim")
    return found


FAMILY = Family(
    name="electra",
    architectures={"ElectraForPreTraining": "electra.", "ElectraForMaskedLM": "electra.", "ElectraModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(*EMBEDDINGS, Rename("embeddings_project.{leaf}", "embedding_projection.{leaf}"), *BRANCHES, *POST_NORMS),
    head_names=(
        Rename("discriminator_predictions.dense.{leaf}", "dense.{leaf}", needs="score.weight"),
        Rename("discriminator_predictions.dense_prediction.{leaf}", "score.{leaf}"),
        Rename("generator_predictions.dense.{leaf}", "dense.{leaf}", needs="norm.weight"),
        Rename("generator_predictions.LayerNorm.{leaf}", "norm.{leaf}"),
        Rename("generator_lm_head.weight", "output.weight"),
        Rename("generator_lm_head.bias", "bias.bias"),
    ),
    ignored=(*IGNORED, r"generator_lm_head\.weight"),
)
