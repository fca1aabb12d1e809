"""`T5ForConditionalGeneration`: biases on scores by distance, RMS norm, no biases elsewhere (Raffel et al. 2020).

`T5EncoderModel` is its encoder alone: one transformer here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from configs.errors import ConfigError
from model.embedders.options import TextOptions
from model.interop import encoder_decoders
from model.interop.encoder_decoders import SHARED
from model.interop.family import ANY, HEADS, TEXT, Config, Description, Family, Rename, differences, head_differences
from model.mixers.options import AttentionOptions
from model.options import EncoderDecoderOptions, FeedForwardKind, LMHeadOptions, TransformerOptions
from model.positions.options import RelativePositions

T5Options = EncoderDecoderOptions | TransformerOptions
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
_ENCODER = "T5EncoderModel"
_LENGTH = 512
"Of the texts it was trained on; config.json may say another (`n_positions`)."


def describe(config: Config, architecture: str) -> Description[Any]:
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
    if architecture == _ENCODER:
        return Description(encoder)
    decoder = side(config.get("num_decoder_layers") or config["num_layers"], cross=True)
    model = EncoderDecoderOptions(encoder=encoder, decoder=decoder, shared_embedding=True)
    return Description(model, _head(config) if "Conditional" in architecture else None)


def _head(config: Config) -> LMHeadOptions:
    tied = bool(config.get("tie_word_embeddings", True))
    # Version 1.0 ties and scales, version 1.1 does neither; transformers 5 says which of the two by a key of its own.
    scaled = config.get("scale_decoder_outputs", tied)
    return LMHeadOptions(tied=tied, scale=config["d_model"] ** -0.5 if scaled else 1.0)


def config(description: Description[T5Options]) -> dict[str, Any]:
    """The content of config.json."""
    model, head = description.model, description.head
    encoder = model.encoder if isinstance(model, EncoderDecoderOptions) else model
    architecture, longest, decoder_keys = _ENCODER, encoder.embedder.longest, {}
    if isinstance(model, EncoderDecoderOptions):
        architecture, longest = encoder_decoders.architecture_of(description, "T5"), encoder_decoders.longest_of(model)
        decoder_keys = {"num_decoder_layers": model.decoder.num_layers}
    assert isinstance(encoder.embedder, TextOptions)
    assert isinstance(encoder.positions, RelativePositions)
    return {
        "model_type": "t5",
        "architectures": [architecture],
        "is_encoder_decoder": architecture != _ENCODER,
        "vocab_size": encoder.embedder.vocab_size,
        "n_positions": longest,
        "d_model": encoder.dim,
        "d_kv": encoder.mixer.head_width(encoder.dim),
        "d_ff": encoder.hidden_width,
        "num_layers": encoder.num_layers,
        **decoder_keys,
        "num_heads": encoder.mixer.num_heads,
        "feed_forward_proj": _THEIR_ACTIVATIONS[encoder.feed_forward],
        "layer_norm_epsilon": encoder.norm_eps,
        "relative_attention_num_buckets": encoder.positions.num_buckets,
        "relative_attention_max_distance": encoder.positions.max_distance,
        "dropout_rate": encoder.dropout,
        "tie_word_embeddings": getattr(head, "tied", True),
        "scale_decoder_outputs": getattr(head, "scale", None) != 1.0,
    }


def misfits(description: Description[T5Options]) -> list[str]:
    """The keys that keep a model from being a T5."""
    model = description.model
    wanted: dict[str, Any] = {
        "kind": "transformer",
        "embedder": TEXT,
        "mixer": {**HEADS, "head_dim": ANY, "scale": 1.0},
        "feed_forward": tuple(_THEIR_ACTIVATIONS),
        "hidden_dim": ANY,
        "norm_eps": ANY,
        "positions": {"kind": "relative", "num_buckets": ANY, "max_distance": ANY},
        "visibility": "bidirectional",
    }
    if isinstance(model, TransformerOptions):
        return differences(model, **wanted) + head_differences(description)
    encoder, heads = model.encoder, dict(HEADS)
    if isinstance(encoder.mixer, AttentionOptions):
        heads |= {"num_heads": encoder.mixer.num_heads, "head_dim": encoder.mixer.head_width(encoder.dim), "scale": 1.0}
    # What config.json says once is the encoder's.
    decoder = wanted | {
        "mixer": heads,
        "feed_forward": encoder.feed_forward,
        "hidden_dim": encoder.hidden_width,
        "norm_eps": encoder.norm_eps,
        "positions": encoder.positions,
        "visibility": "causal",
        "cross": True,
    }
    found = differences(model, encoder=wanted, decoder=decoder, shared_embedding=True)
    return found + head_differences(description, {"kind": "lm", "tied": ANY, "scale": (1.0, model.dim**-0.5)})


def _names(side: str, branches: tuple[tuple[str, str], ...], ours: str) -> Iterator[Rename]:
    """Names of one side, whose blocks have these branches: (theirs, ours); `ours`: what our names begin with."""
    yield Rename(f"{side}.final_layer_norm.weight", f"{ours}norm.weight")
    bias = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    yield Rename(f"{side}.{bias}", f"{ours}score_bias.table.weight")
    for number, (theirs, part) in enumerate(branches):
        branch, block = f"{side}.block.{{layer}}.layer.{number}", f"{ours}blocks.{{layer}}"
        yield Rename(f"{branch}.layer_norm.weight", f"{block}.{part}_branch.norm.weight")
        if part == "feed_forward":
            gate = f"{block}.feed_forward.gate.weight"
            yield Rename(f"{branch}.{theirs}.wi.weight", f"{block}.feed_forward.up.weight", excludes=gate)
            yield Rename(f"{branch}.{theirs}.wi_0.weight", gate)
            yield Rename(f"{branch}.{theirs}.wi_1.weight", f"{block}.feed_forward.up.weight", needs=gate)
            yield Rename(f"{branch}.{theirs}.wo.weight", f"{block}.feed_forward.down.weight")
        else:
            for name in ("query", "key", "value", "output"):
                yield Rename(f"{branch}.{theirs}.{name[0]}.weight", f"{block}.{part}.{name}.weight")


_SELF, _CROSS, _FEED_FORWARD = (
    ("SelfAttention", "mixer"),
    ("EncDecAttention", "cross"),
    ("DenseReluDense", "feed_forward"),
)

FAMILY: Family[Any] = Family(
    name="t5",
    architectures={"T5ForConditionalGeneration": "", "T5Model": "", _ENCODER: ""},
    describe=describe,
    config=config,
    misfits=misfits,
    describes=(EncoderDecoderOptions, TransformerOptions),
    names=(
        SHARED,
        *_names("encoder", (_SELF, _FEED_FORWARD), "encoder."),
        *_names("decoder", (_SELF, _CROSS, _FEED_FORWARD), "decoder."),
        # The encoder alone.
        Rename(SHARED.theirs, "embedder.tokens.weight"),
        *_names("encoder", (_SELF, _FEED_FORWARD), ""),
    ),
    head_names=(Rename("lm_head.weight", "output.weight"),),
    # The first file of T5 holds a bias for cross-attention that nothing reads.
    ignored=(
        *encoder_decoders.COPIES,
        r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",
    ),
)
