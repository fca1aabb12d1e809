"""`ModernBertModel`, `ModernBertForMaskedLM`: rotary positions, GeGLU, windows in most layers (Warner et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from configs.errors import ConfigError
from model.embedders.options import TextOptions
from model.interop.family import (
    ANY,
    HEADS,
    TEXT,
    Config,
    Description,
    Family,
    Rename,
    attention_bias,
    differences,
    head_differences,
)
from model.interop.text_encoder import THEIR_ACTIVATIONS, activation, is_tied, require_fixed
from model.mixers.options import AttentionOptions
from model.options import BlockOptions, FeedForwardKind, LayerGroup, LMHeadOptions, TransformerOptions
from model.positions.options import RotaryPositions

_FULL, _LOCAL = "full_attention", "sliding_attention"
_BASES = {_FULL: 160000.0, _LOCAL: 10000.0}
_OLD_BASES = {_FULL: "global_rope_theta", _LOCAL: "local_rope_theta"}
_WINDOW = 128
_GATED: dict[FeedForwardKind, FeedForwardKind] = {
    "gelu": "geglu",
    "gelu_tanh": "geglu_tanh",
    "relu": "reglu",
    "silu": "swiglu",
}
_PLAIN = {gated: plain for plain, gated in _GATED.items()}
_DEFAULTS: dict[str, Any] = {
    "vocab_size": 50368,
    "hidden_size": 768,
    "intermediate_size": 1152,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "hidden_activation": "gelu",
    "max_position_embeddings": 8192,
    "norm_eps": 1e-5,
    "norm_bias": False,
    "attention_bias": False,
    "global_attn_every_n_layers": 3,
    "local_attention": _WINDOW,
    "mlp_bias": False,
    "decoder_bias": True,
    "classifier_bias": False,
    "classifier_activation": "gelu",
    "tie_word_embeddings": True,
}
# Theirs lies before the last matrix of a branch, ours behind it; the released models were trained without.
_NO_DROPOUT = {"attention_dropout": 0.0, "embedding_dropout": 0.0, "mlp_dropout": 0.0}
# Ids of the tokenizer that theirs was trained with: beyond the vocabulary of most others.
_NO_TOKENS = dict.fromkeys(["pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"])
_BLOCK, _LAYER = "blocks.{layer}", "layers.{layer}"


def describe(config: Config, architecture: str) -> Description:
    """The model that a config.json describes."""
    config = _DEFAULTS | dict(config)
    require_fixed(config, {**_NO_DROPOUT, "rope_scaling": None})
    plain = activation(config, "hidden_activation")
    if plain not in _GATED:
        raise ConfigError(f"hidden_activation {config['hidden_activation']}: not computed with a gate.")
    model = TransformerOptions(
        embedder=TextOptions(vocab_size=config["vocab_size"], max_length=config["max_position_embeddings"]),
        dim=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        mixer=AttentionOptions(num_heads=config["num_attention_heads"], bias=config["attention_bias"]),
        feed_forward=_GATED[plain],
        hidden_dim=config["intermediate_size"],
        norm="layer",
        norm_eps=config["norm_eps"],
        norm_bias=config["norm_bias"],
        positions=RotaryPositions(base=_base(config, _FULL)),
        bias=config["mlp_bias"],
        plan=_plan(config),
        visibility="bidirectional",
        embedding_norm=True,
    )
    return Description(model, _head(config) if architecture.endswith("LM") else None)


def _head(config: Config) -> LMHeadOptions:
    return LMHeadOptions(
        tied=config["tie_word_embeddings"],
        bias=config["decoder_bias"],
        transform=activation(config, "classifier_activation"),
        transform_bias=config["classifier_bias"],
        transform_norm_bias=config["norm_bias"],
        norm_eps=config["norm_eps"],
    )


def _base(config: Config, layer_type: str) -> float:
    """The base of rotary positions, in the words of transformers 5 or before."""
    rope = (config.get("rope_parameters") or {}).get(layer_type) or {}
    require_fixed(rope, {"rope_type": "default"})
    return float(rope.get("rope_theta") or config.get(_OLD_BASES[layer_type]) or _BASES[layer_type])


def _plan(config: Config) -> list[LayerGroup]:
    """Groups of layers of the same type; the first layer, whose mixer has no norm, is one of its own."""
    size, every = config["num_hidden_layers"], config["global_attn_every_n_layers"]
    types = config.get("layer_types") or [_LOCAL if number % every else _FULL for number in range(size)]
    if len(types) != size or not {_FULL, _LOCAL}.issuperset(types):
        raise ConfigError(f"layer_types {types}: expected {_FULL} or {_LOCAL} for each of {size} layers.")
    local: dict[str, Any] = {}
    if _LOCAL in types:
        window = config["local_attention"] // 2
        if window < 1:
            raise ConfigError(f"local_attention {config['local_attention']}: a token would see itself alone.")
        local = {"mixer": {"window": window}, "positions": {"base": _base(config, _LOCAL)}}
    first, *others = types
    groups = [LayerGroup(mixer_norm=False, **(local if first == _LOCAL else {}))]
    for layer_type, same in groupby(others):
        groups.append(LayerGroup(repeat=len(list(same)), **(local if layer_type == _LOCAL else {})))
    return groups


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    model, head = description.model, description.head
    assert isinstance(model.embedder, TextOptions)
    assert isinstance(model.positions, RotaryPositions)
    windows, bases = _windows(model.blocks), _bases(model.blocks)
    keys = {
        "model_type": "modernbert",
        "architectures": ["ModernBertModel" if head is None else "ModernBertForMaskedLM"],
        "vocab_size": model.embedder.vocab_size,
        "hidden_size": model.dim,
        "intermediate_size": model.hidden_width,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.mixer.num_heads,
        "hidden_activation": THEIR_ACTIVATIONS[_PLAIN[model.feed_forward]],
        "max_position_embeddings": model.embedder.max_length,
        "norm_eps": model.norm_eps,
        "norm_bias": model.norm_has_bias,
        "attention_bias": attention_bias(model.mixer, model),
        "mlp_bias": model.bias,
        "layer_types": [_FULL if window is None else _LOCAL for window in windows],
        "local_attention": 2 * next((window for window in windows if window is not None), _WINDOW // 2),
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": next(iter(found), default)}
            for (kind, found), default in zip(bases.items(), (model.positions.base, _BASES[_LOCAL]), strict=True)
        },
        "tie_word_embeddings": is_tied(head),
        **_NO_DROPOUT,
        **_NO_TOKENS,
    }
    if isinstance(head, LMHeadOptions):
        assert head.transform is not None
        keys |= {
            "decoder_bias": head.bias,
            "classifier_bias": head.transform_bias,
            "classifier_activation": THEIR_ACTIVATIONS[head.transform],
        }
    return keys


def _windows(blocks: Sequence[BlockOptions]) -> list[int | None]:
    """Tokens that a query sees to either side, in every layer; None: all."""
    return [getattr(block.mixer, "window", None) for block in blocks]


def _bases(blocks: Sequence[BlockOptions]) -> dict[str, set[float]]:
    """The bases that occur in layers of each type."""
    bases: dict[str, set[float]] = {_FULL: set(), _LOCAL: set()}
    for block, window in zip(blocks, _windows(blocks), strict=True):
        assert isinstance(block.positions, RotaryPositions)
        bases[_FULL if window is None else _LOCAL].add(block.positions.base)
    return bases


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a ModernBERT."""
    model = description.model
    found = differences(
        model,
        by_layer=("mixer.window", "mixer_norm", "positions.base"),
        embedder=TEXT,
        mixer={**HEADS, "bias": ANY, "window": ANY},
        feed_forward=tuple(_PLAIN),
        hidden_dim=ANY,
        norm="layer",
        norm_eps=ANY,
        norm_bias=ANY,
        mixer_norm=ANY,
        positions={"kind": "rotary", "base": ANY},
        bias=ANY,
        visibility="bidirectional",
        embedding_norm=True,
    )
    return found or [*_layer_misfits(model), *_head_misfits(description)]


def _layer_misfits(model: TransformerOptions) -> list[str]:
    found = []
    if [block.mixer_norm for block in model.blocks] != [number > 0 for number in range(model.num_layers)]:
        found.append("model.mixer_norm: false in the first layer, and there alone")
    if len(set(_windows(model.blocks)) - {None}) > 1:
        found.append("model.mixer.window: several")
    if any(len(bases) > 1 for bases in _bases(model.blocks).values()):
        found.append("model.positions.base: one with windows, one without")
    return found


def _head_misfits(description: Description) -> list[str]:
    model = description.model
    wanted = {
        "kind": "lm",
        "tied": ANY,
        "bias": ANY,
        "transform": tuple(THEIR_ACTIVATIONS),
        "transform_bias": ANY,
        "transform_norm_bias": model.norm_has_bias,
        "norm_eps": model.norm_eps,
    }
    return head_differences(description, wanted)


FAMILY = Family(
    name="modernbert",
    architectures={"ModernBertForMaskedLM": "model.", "ModernBertModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(
        Rename("embeddings.tok_embeddings.weight", "embedder.tokens.weight"),
        Rename("embeddings.norm.{leaf}", "embedding_norm.{leaf}"),
        Rename("final_norm.{leaf}", "norm.{leaf}"),
        Rename(f"{_LAYER}.attn_norm.{{leaf}}", f"{_BLOCK}.mixer_branch.norm.{{leaf}}"),
        Rename(
            f"{_LAYER}.attn.Wqkv.{{leaf}}",
            tuple(f"{_BLOCK}.mixer.{part}.{{leaf}}" for part in ("query", "key", "value")),
        ),
        Rename(f"{_LAYER}.attn.Wo.{{leaf}}", f"{_BLOCK}.mixer.output.{{leaf}}"),
        Rename(f"{_LAYER}.mlp_norm.{{leaf}}", f"{_BLOCK}.feed_forward_branch.norm.{{leaf}}"),
        Rename(f"{_LAYER}.mlp.Wi.{{leaf}}", tuple(f"{_BLOCK}.feed_forward.{part}.{{leaf}}" for part in ("gate", "up"))),
        Rename(f"{_LAYER}.mlp.Wo.{{leaf}}", f"{_BLOCK}.feed_forward.down.{{leaf}}"),
    ),
    head_names=(
        Rename("head.dense.{leaf}", "dense.{leaf}"),
        Rename("head.norm.{leaf}", "norm.{leaf}"),
        Rename("decoder.weight", "output.weight"),
        Rename("decoder.bias", "bias.bias"),
    ),
    ignored=(r"decoder\.weight", r".*rotary_emb\..*inv_freq"),
)
