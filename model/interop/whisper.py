"""`WhisperModel`, `WhisperForConditionalGeneration`: spectrograms -> text (Radford et al. 2022).

Two convolutions and sinusoidal positions before the encoder, learned ones before the decoder; pre-norm; keys without
bias. transformers wants spectrograms [bands, frames] of exactly twice `max_source_positions` frames; here they are
[frames, bands], as in data, and may be shorter.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from configs.errors import ConfigError
from configs.options import nearest
from model.embedders.options import SpectrogramOptions, TextOptions
from model.interop.family import (
    ANY,
    HEADS,
    TEXT,
    Config,
    Description,
    Family,
    Rename,
    differences,
    head_differences,
)
from model.mixers.options import AttentionOptions
from model.options import EncoderDecoderOptions, LMHeadOptions, TransformerOptions
from model.positions.options import LearnedPositions, SinusoidalPositions

_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}
_LONGEST_PERIOD = 10000.0
_TABLE = "encoder.embed_positions.weight"
_PROJECTIONS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}


def describe(config: Config, architecture: str) -> Description[EncoderDecoderOptions]:
    """The model that a config.json describes."""
    activations = {theirs: ours for ours, theirs in _ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh"}
    activation = config.get("activation_function", "gelu")
    if activation not in activations:
        raise ConfigError(f"activation_function={activation}: {nearest(activation, activations)}.")
    dim = config["d_model"]
    common: dict[str, Any] = {
        "dim": dim,
        "feed_forward": activations[activation],
        "norm": "layer",
        "bias": True,
        "dropout": config.get("dropout", 0.0),
    }

    def side(name: str) -> dict[str, Any]:
        mixer = AttentionOptions(
            num_heads=config[f"{name}_attention_heads"], key_bias=False, dropout=config.get("attention_dropout", 0.0)
        )
        return common | {
            "num_layers": config[f"{name}_layers"],
            "hidden_dim": config[f"{name}_ffn_dim"],
            "mixer": mixer,
        }

    encoder = TransformerOptions(
        embedder=SpectrogramOptions(num_bands=config["num_mel_bins"], max_length=config["max_source_positions"]),
        positions=SinusoidalPositions(base=_base(dim)),
        visibility="bidirectional",
        **side("encoder"),
    )
    decoder = TransformerOptions(
        embedder=TextOptions(vocab_size=config["vocab_size"], max_length=config["max_target_positions"]),
        positions=LearnedPositions(),
        cross=True,
        **side("decoder"),
    )
    has_head = architecture == "WhisperForConditionalGeneration"
    head = LMHeadOptions(tied=config.get("tie_word_embeddings", True)) if has_head else None
    return Description(EncoderDecoderOptions(encoder=encoder, decoder=decoder), head)


def misfits(description: Description[EncoderDecoderOptions]) -> list[str]:
    """The keys that keep a model from being a Whisper."""
    encoder = description.model.encoder
    common = {"kind": "transformer", "mixer": {**HEADS, "key_bias": False}, "hidden_dim": ANY} | {
        "norm": "layer",
        "bias": True,
    }
    found = differences(
        description.model,
        encoder=common
        | {
            "embedder": {"kind": "spectrogram", "num_bands": ANY, "max_length": ANY},
            "feed_forward": tuple(_ACTIVATIONS),
            "positions": SinusoidalPositions(base=_base(encoder.dim)),
            "visibility": "bidirectional",
        },
        decoder=common
        | {
            "embedder": TEXT,
            "feed_forward": encoder.feed_forward,
            "positions": LearnedPositions(),
            "cross": True,
        },
    )
    return found + head_differences(description, {"kind": "lm", "tied": ANY})


def config(description: Description[EncoderDecoderOptions]) -> dict[str, Any]:
    """The content of config.json."""
    encoder, decoder, head = description.model.encoder, description.model.decoder, description.head
    assert isinstance(encoder.embedder, SpectrogramOptions)
    assert isinstance(decoder.embedder, TextOptions)
    sides = {
        f"{name}_{key}": value
        for name, side in (("encoder", encoder), ("decoder", decoder))
        for key, value in {
            "layers": side.num_layers,
            "attention_heads": side.mixer.num_heads,
            "ffn_dim": side.hidden_width,
        }.items()
    }
    return {
        "model_type": "whisper",
        "architectures": ["WhisperModel" if head is None else "WhisperForConditionalGeneration"],
        "num_mel_bins": encoder.embedder.num_bands,
        "max_source_positions": encoder.embedder.max_length,
        "vocab_size": decoder.embedder.vocab_size,
        "max_target_positions": decoder.embedder.max_length,
        "d_model": encoder.dim,
        **sides,
        "activation_function": _ACTIVATIONS[encoder.feed_forward],
        "dropout": encoder.dropout,
        "attention_dropout": encoder.mixer.dropout,
        "tie_word_embeddings": head is None or (isinstance(head, LMHeadOptions) and head.tied),
        # transformers' defaults are ids of Whisper's own vocabulary.
        "pad_token_id": None,
    }


def computed(description: Description[EncoderDecoderOptions]) -> dict[str, Tensor]:
    """The encoder's sinusoids, which files hold, in the arithmetic of transformers."""
    encoder = description.model.encoder
    assert isinstance(encoder.embedder, SpectrogramOptions)
    half = encoder.dim // 2
    step = math.log(_LONGEST_PERIOD) / (half - 1)
    angles = torch.arange(encoder.embedder.max_length)[:, None] * torch.exp(-step * torch.arange(half))
    prefix = "" if description.head is None else "model."
    return {prefix + _TABLE: torch.cat((angles.sin(), angles.cos()), dim=1)}


def _base(dim: int) -> float:
    """The base of the sinusoids: the last of D/2 frequencies is 1/10000, where elsewhere the next one would be."""
    return float(_LONGEST_PERIOD ** (dim / (dim - 2)))


def _side(name: str, branches: dict[str, str]) -> tuple[Rename, ...]:
    """The blocks of one side, whose attention is at `branches`: ours -> theirs."""
    theirs, ours = f"{name}.layers.{{layer}}", f"{name}.blocks.{{layer}}"
    attention = [
        Rename(f"{theirs}.{there}.{projection}.{{leaf}}", f"{ours}.{here}.{part}.{{leaf}}")
        for here, there in branches.items()
        for part, projection in _PROJECTIONS.items()
    ]
    norms = [
        Rename(f"{theirs}.{there}_layer_norm.{{leaf}}", f"{ours}.{here}_branch.norm.{{leaf}}")
        for here, there in branches.items()
    ]
    return (
        *attention,
        *norms,
        Rename(f"{theirs}.final_layer_norm.{{leaf}}", f"{ours}.feed_forward_branch.norm.{{leaf}}"),
        Rename(f"{theirs}.fc1.{{leaf}}", f"{ours}.feed_forward.up.{{leaf}}"),
        Rename(f"{theirs}.fc2.{{leaf}}", f"{ours}.feed_forward.down.{{leaf}}"),
        Rename(f"{name}.layer_norm.{{leaf}}", f"{name}.norm.{{leaf}}"),
    )


FAMILY = Family(
    name="whisper",
    architectures={"WhisperForConditionalGeneration": "model.", "WhisperModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    describes=EncoderDecoderOptions,
    names=(
        Rename("encoder.conv1.{leaf}", "encoder.embedder.widen.{leaf}"),
        Rename("encoder.conv2.{leaf}", "encoder.embedder.halve.{leaf}"),
        *_side("encoder", {"mixer": "self_attn"}),
        Rename("decoder.embed_tokens.weight", "decoder.embedder.tokens.weight"),
        Rename("decoder.embed_positions.weight", "decoder.position_embedding.table.weight"),
        *_side("decoder", {"mixer": "self_attn", "cross": "encoder_attn"}),
    ),
    head_names=(Rename("proj_out.weight", "output.weight"),),
    ignored=(rf"(model\.)?{_TABLE}", r"proj_out\.weight"),
    computed=computed,
)
