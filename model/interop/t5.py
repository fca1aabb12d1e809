"""`T5ForConditionalGeneration`: biases on scores by distance, RMS norm, no biases elsewhere (Raffel et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from configs.errors import ConfigError
from model.embedders.options import TextOptions
from model.interop import encoder_decoders
from model.interop.encoder_decoders import SHARED, Described
from model.interop.family import Config, Description, Family, Rename
from model.mixers.options import AttentionOptions
from model.options import EncoderDecoderOptions, FeedForwardKind, LMHeadOptions, TransformerOptions
from model.positions.options import RelativePositions

_ACTIVATIONS: dict[str, FeedForwardKind] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "silu": "silu",
    # Theirs computes the approximation by tanh under this name.
    "gated-gelu": "geglu_tanh",
    "gated-gelu_new": "geglu_tanh",
    "gated-relu": "reglu",
    "gated-silu": "swiglu",
}
_THEIR_ACTIVATIONS = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
_LENGTH = 512
"Of the texts it was trained on; config.json may say another (`n_positions`)."


def describe(config: Config, architecture: str) -> Described:
    """The model that a config.json describes."""
    activation = config.get("feed_forward_proj", "relu")
    if activation not in _ACTIVATIONS:
        raise ConfigError(f"feed_forward_proj {activation}: known are {', '.join(_ACTIVATIONS)}.")
    dropout = float(config.get("dropout_rate", 0.1))

    def side(num_layers: int, **keys: Any) -> TransformerOptions:
        return TransformerOptions(
            embedder=TextOptions(vocab_size=config["vocab_size"], max_length=config.get("n_positions", _LENGTH)),
            dim=config["d_model"],
            num_layers=num_layers,
            hidden_dim=config["d_ff"],
            mixer=AttentionOptions(num_heads=config["num_heads"], head_dim=config["d_kv"], scale=1.0, dropout=dropout),
            feed_forward=_ACTIVATIONS[activation],
            norm_eps=config.get("layer_norm_epsilon", 1e-6),
            positions=RelativePositions(
                num_buckets=config.get("relative_attention_num_buckets", 32),
                max_distance=config.get("relative_attention_max_distance", 128),
            ),
            dropout=dropout,
            **keys,
        )

    encoder = side(config["num_layers"], visibility="bidirectional")
    decoder = side(config.get("num_decoder_layers") or config["num_layers"], cross=True)
    model = EncoderDecoderOptions(encoder=encoder, decoder=decoder, shared_embedding=True)
    return Description(model, _head(config) if "Conditional" in architecture else None)


def _head(config: Config) -> LMHeadOptions:
    tied = bool(config.get("tie_word_embeddings", True))
    # Version 1.0 ties and scales, version 1.1 does neither; transformers 5 says which of the two by a key of its own.
    scaled = config.get("scale_decoder_outputs", tied)
    return LMHeadOptions(tied=tied, scale=config["d_model"] ** -0.5 if scaled else 1.0)


def config(description: Described) -> dict[str, Any]:
    """The content of config.json."""
    model, head = description.model, description.head
    decoder, embedder, positions = model.decoder, model.embedder, model.decoder.positions
    assert isinstance(embedder, TextOptions)
    assert isinstance(positions, RelativePositions)
    return {
        "model_type": "t5",
        "architectures": [encoder_decoders.architecture_of(description, "T5")],
        "is_encoder_decoder": True,
        "vocab_size": embedder.vocab_size,
        "n_positions": encoder_decoders.longest_of(model),
        "d_model": model.dim,
        "d_kv": decoder.mixer.head_width(model.dim),
        "d_ff": decoder.hidden_width,
        "num_layers": model.encoder.num_layers,
        "num_decoder_layers": decoder.num_layers,
        "num_heads": decoder.mixer.num_heads,
        "feed_forward_proj": _THEIR_ACTIVATIONS[decoder.feed_forward],
        "layer_norm_epsilon": decoder.norm_eps,
        "relative_attention_num_buckets": positions.num_buckets,
        "relative_attention_max_distance": positions.max_distance,
        "dropout_rate": decoder.dropout,
        "tie_word_embeddings": getattr(head, "tied", True),
        "scale_decoder_outputs": getattr(head, "scale", None) != 1.0,
    }


def misfits(description: Described) -> list[str]:
    """The keys that keep a model from being a T5."""
    sides = encoder_decoders.sides_of(description.model)
    if any(side.positions.kind != "relative" for side in sides.values()):
        return [f"model.{name}.positions={side.positions.kind}" for name, side in sides.items()]
    return encoder_decoders.misfits(description, describe, config, _THEIR_ACTIVATIONS, free_heads=True)


def _names(side: str, branches: tuple[tuple[str, str], ...]) -> Iterator[Rename]:
    """Names of one side, whose blocks have these branches: (theirs, ours)."""
    yield Rename(f"{side}.final_layer_norm.weight", f"{side}.norm.weight")
    bias = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    yield Rename(f"{side}.{bias}", f"{side}.score_bias.table.weight")
    for number, (theirs, ours) in enumerate(branches):
        branch, block = f"{side}.block.{{layer}}.layer.{number}", f"{side}.blocks.{{layer}}"
        yield Rename(f"{branch}.layer_norm.weight", f"{block}.{ours}_branch.norm.weight")
        if ours == "feed_forward":
            gate = f"{block}.feed_forward.gate.weight"
            yield Rename(f"{branch}.{theirs}.wi.weight", f"{block}.feed_forward.up.weight", excludes=gate)
            yield Rename(f"{branch}.{theirs}.wi_0.weight", gate)
            yield Rename(f"{branch}.{theirs}.wi_1.weight", f"{block}.feed_forward.up.weight", needs=gate)
            yield Rename(f"{branch}.{theirs}.wo.weight", f"{block}.feed_forward.down.weight")
        else:
            for part in ("query", "key", "value", "output"):
                yield Rename(f"{branch}.{theirs}.{part[0]}.weight", f"{block}.{ours}.{part}.weight")


_SELF, _CROSS, _FEED_FORWARD = (
    ("SelfAttention", "mixer"),
    ("EncDecAttention", "cross"),
    ("DenseReluDense", "feed_forward"),
)

FAMILY: Family[EncoderDecoderOptions] = Family(
    name="t5",
    architectures={"T5ForConditionalGeneration": "", "T5Model": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    describes=EncoderDecoderOptions,
    names=(SHARED, *_names("encoder", (_SELF, _FEED_FORWARD)), *_names("decoder", (_SELF, _CROSS, _FEED_FORWARD))),
    head_names=(Rename("lm_head.weight", "output.weight"),),
    # The first file of T5 holds a bias for cross-attention that nothing reads.
    ignored=(
        *encoder_decoders.COPIES,
        r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",
    ),
)
