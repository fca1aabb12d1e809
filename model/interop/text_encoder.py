"""What BERT and its like have in common: keys of config.json, names of weights, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from configs.errors import ConfigError
from model.embedders.options import TextOptions
from model.interop.family import (
    ANY,
    HEADS,
    POSITIVE,
    TEXT,
    Config,
    Description,
    Rename,
    differences,
    head_differences,
)
from model.mixers.options import AttentionOptions
from model.options import (
    AnyHead,
    FeedForwardKind,
    LMHeadOptions,
    PoolerOptions,
    SentencePairOptions,
    TransformerOptions,
)
from model.positions.options import LearnedPositions

ACTIVATIONS: dict[str, FeedForwardKind] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"Their names -> ours."
THEIR_ACTIVATIONS = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "tie_word_embeddings": True,
}
"Of their classes, where config.json leaves a key out; a family has others of its own."
_FIXED = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}

_BLOCK, _LAYER = "blocks.{layer}", "encoder.layer.{layer}"
EMBEDDINGS = (
    Rename("embeddings.word_embeddings.weight", "embedder.tokens.weight"),
    Rename("embeddings.token_type_embeddings.weight", "embedder.types.weight"),
    Rename("embeddings.position_embeddings.weight", "position_embedding.table.weight"),
    Rename("embeddings.LayerNorm.{leaf}", "embedding_norm.{leaf}"),
)
BRANCHES = (
    *(
        Rename(f"{_LAYER}.attention.self.{part}.{{leaf}}", f"{_BLOCK}.mixer.{part}.{{leaf}}")
        for part in ("query", "key", "value")
    ),
    Rename(f"{_LAYER}.attention.output.dense.{{leaf}}", f"{_BLOCK}.mixer.output.{{leaf}}"),
    Rename(f"{_LAYER}.intermediate.dense.{{leaf}}", f"{_BLOCK}.feed_forward.up.{{leaf}}"),
    Rename(f"{_LAYER}.output.dense.{{leaf}}", f"{_BLOCK}.feed_forward.down.{{leaf}}"),
)
POST_NORMS = (
    Rename(f"{_LAYER}.attention.output.LayerNorm.{{leaf}}", f"{_BLOCK}.mixer_branch.norm.{{leaf}}"),
    Rename(f"{_LAYER}.output.LayerNorm.{{leaf}}", f"{_BLOCK}.feed_forward_branch.norm.{{leaf}}"),
)
# A pooler and a head of tokens both have a matrix called `dense`; only the latter has a norm.
POOLER = Rename("pooler.dense.{leaf}", "dense.{leaf}", excludes="norm.weight")
IGNORED = (r".*embeddings\.(position|token_type)_ids",)


def activation(config: Config, key: str) -> FeedForwardKind:
    """Our name of the activation `key`.

    Raises:
        ConfigError: when there is none.
    """
    if config[key] not in ACTIVATIONS:
        raise ConfigError(f"{key} {config[key]}: not computed; known are {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[config[key]]


def require_fixed(config: Config, fixed: Mapping[str, object]) -> None:
    """Check keys that have one value here; missing ones have it.

    Raises:
        ConfigError: naming the first that has another.
    """
    for key, value in fixed.items():
        if config.get(key, value) != value:
            raise ConfigError(f"{key} {config[key]}: not computed; only {value} is.")


def encoder(config: Config, *, offset: int = 0, **changes: Any) -> TransformerOptions:
    """The transformer that a config.json, its defaults filled in, describes.

    Args:
        config: config.json.
        offset: unused rows at the start of its table of positions.
        changes: keys of the model that are not BERT's.

    Raises:
        ConfigError: for what we do not compute.
    """
    require_fixed(config, _FIXED)
    bert: dict[str, Any] = {"norm_place": "post", "embedding_norm": True}
    return TransformerOptions(
        embedder=TextOptions(
            vocab_size=config["vocab_size"],
            max_length=config["max_position_embeddings"] - offset,
            num_types=config["type_vocab_size"],
        ),
        dim=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        mixer=AttentionOptions(
            num_heads=config["num_attention_heads"], dropout=float(config["attention_probs_dropout_prob"])
        ),
        feed_forward=activation(config, "hidden_act"),
        hidden_dim=config["intermediate_size"],
        norm="layer",
        norm_eps=config["layer_norm_eps"],
        positions=LearnedPositions(offset=offset),
        bias=True,
        dropout=float(config["hidden_dropout_prob"]),
        visibility="bidirectional",
        **(bert | changes),
    )


def masked_tokens(config: Config, model: TransformerOptions, transform: FeedForwardKind = "gelu") -> LMHeadOptions:
    """The head of masked tokens."""
    return LMHeadOptions(
        tied=config["tie_word_embeddings"],
        bias=True,
        transform=transform,
        norm_eps=model.norm_eps,
        width=model.embedding_dim,
    )


def pooler(config: Config) -> PoolerOptions | None:
    """The head of a class without a head: its pooler, unless config.json says that it was left out."""
    return PoolerOptions() if config.get("add_pooling_layer", True) else None


def masked_token_names(theirs: str, *, dense: str, norm: str, ours: str = "") -> tuple[Rename, ...]:
    """Names of that head, `theirs` being the prefix. Untied, it has its bias elsewhere than tied."""
    beside = f"{ours}output.weight"
    return (
        Rename(f"{theirs}.{dense}.{{leaf}}", f"{ours}dense.{{leaf}}", needs=f"{ours}norm.weight"),
        Rename(f"{theirs}.{norm}.{{leaf}}", f"{ours}norm.{{leaf}}"),
        Rename(f"{theirs}.decoder.weight", beside),
        Rename(f"{theirs}.decoder.bias", f"{ours}bias.bias", needs=beside),
        Rename(f"{theirs}.bias", f"{ours}bias.bias", excludes=beside),
    )


def unused_bias(description: Description, name: str) -> dict[str, Tensor]:
    """The bias `name` that classes with an untied head have and do not use: they use the decoder's."""
    head, embedder = description.head, description.model.embedder
    lm = head.tokens if isinstance(head, SentencePairOptions) else head
    if not isinstance(lm, LMHeadOptions) or lm.tied:
        return {}
    assert isinstance(embedder, TextOptions)
    return {name: torch.zeros(embedder.vocab_size)}


def encoder_config(description: Description, model_type: str, architecture: str) -> dict[str, Any]:
    """The content of config.json."""
    model, head = description.model, description.head
    embedder, positions = model.embedder, model.positions
    assert isinstance(embedder, TextOptions)
    assert isinstance(positions, LearnedPositions)
    return {
        "model_type": model_type,
        "architectures": [architecture],
        "vocab_size": embedder.vocab_size,
        "hidden_size": model.dim,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.mixer.num_heads,
        "intermediate_size": model.hidden_width,
        "hidden_act": THEIR_ACTIVATIONS[model.feed_forward],
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.mixer.dropout,
        "max_position_embeddings": embedder.max_length + positions.offset,
        "type_vocab_size": embedder.num_types,
        "layer_norm_eps": model.norm_eps,
        "tie_word_embeddings": is_tied(head),
    }


def is_tied(head: AnyHead | None) -> bool:
    """`tie_word_embeddings`; true, as their default is, where there is no head of tokens."""
    lm = head.tokens if isinstance(head, SentencePairOptions) else head
    return lm.tied if isinstance(lm, LMHeadOptions) else True


def without_pooler(description: Description) -> dict[str, bool]:
    """Keys of config.json that say that there is no pooler, by the name of their constructor's argument."""
    return {"add_pooling_layer": False} if description.head is None else {}


def masked_tokens_wanted(description: Description, transform: str | None = "gelu") -> dict[str, Any]:
    """What heads of masked tokens there may be; `transform` None is the activation of the model."""
    model = description.model
    return {
        "kind": "lm",
        "tied": ANY,
        "bias": True,
        "transform": transform or model.feed_forward,
        "norm_eps": model.norm_eps,
        "width": model.width_of_embedder,
    }


def encoder_misfits(description: Description, *heads: Mapping[str, Any], **wanted: Any) -> list[str]:
    """The keys that keep a model from being like BERT.

    Args:
        description: the model and its head.
        heads: what heads there may be.
        wanted: what is not BERT's, as for `differences`.
    """
    bert: dict[str, Any] = {
        # Their table of types has at least one row.
        "embedder": {**TEXT, "num_types": POSITIVE},
        "mixer": HEADS,
        "feed_forward": tuple(THEIR_ACTIVATIONS),
        "hidden_dim": ANY,
        "norm": "layer",
        "norm_eps": ANY,
        "norm_place": "post",
        "positions": {"kind": "learned"},
        "bias": True,
        "visibility": "bidirectional",
        "embedding_norm": True,
    }
    return differences(description.model, **(bert | wanted)) + head_differences(description, *heads)
