"""What encoder-decoder families have in common: what keeps a model from one; names and keys of BART's kin."""

from __future__ import annotations

from typing import Any

from configs.errors import ConfigError
from model.embedders.options import TextOptions
from model.interop.family import ANY, HEADS, TEXT, Config, Description, Rename, differences, head_differences
from model.mixers.options import AttentionOptions
from model.options import EncoderDecoderOptions, FeedForwardKind, LMHeadOptions, TransformerOptions

Described = Description[EncoderDecoderOptions]

ACTIVATIONS: dict[str, FeedForwardKind] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"Plain feed-forward layers, by their names."
THEIR_ACTIVATIONS = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}

_PARTS = {
    "self_attn.q_proj": "mixer.query",
    "self_attn.k_proj": "mixer.key",
    "self_attn.v_proj": "mixer.value",
    "self_attn.out_proj": "mixer.output",
    "self_attn_layer_norm": "mixer_branch.norm",
    "encoder_attn.q_proj": "cross.query",
    "encoder_attn.k_proj": "cross.key",
    "encoder_attn.v_proj": "cross.value",
    "encoder_attn.out_proj": "cross.output",
    "encoder_attn_layer_norm": "cross_branch.norm",
    "fc1": "feed_forward.up",
    "fc2": "feed_forward.down",
    "final_layer_norm": "feed_forward_branch.norm",
}


def side_names(side: str) -> tuple[Rename, ...]:
    """Names of everything but tokens on one side, "encoder" or "decoder": BART, Pegasus, Whisper."""
    blocks = (
        Rename(f"{side}.layers.{{layer}}.{theirs}.{{leaf}}", f"{side}.blocks.{{layer}}.{ours}.{{leaf}}")
        for theirs, ours in _PARTS.items()
    )
    return (
        Rename(f"{side}.embed_positions.weight", f"{side}.position_embedding.table.weight"),
        Rename(f"{side}.layernorm_embedding.{{leaf}}", f"{side}.embedding_norm.{{leaf}}"),
        *blocks,
        Rename(f"{side}.layer_norm.{{leaf}}", f"{side}.norm.{{leaf}}"),
    )


SHARED = Rename("shared.weight", "encoder.embedder.tokens.weight")
"The one table of tokens."
NAMES = (SHARED, *side_names("encoder"), *side_names("decoder"))
COPIES = (r"(model\.)?(encoder|decoder)\.embed_tokens\.weight", r"lm_head\.weight")
"Names of the table of tokens that files may hold again."
BIAS = "final_logits_bias"
"A buffer of zeros, in all models but Marian's."


def described(config: Config, architecture: str, **changes: Any) -> Described:
    """The model of BART's kin that a config.json describes.

    Args:
        config: config.json.
        architecture: name of the class.
        changes: keys of both transformers.

    Raises:
        ConfigError: for what we do not compute.
    """
    activation = config.get("activation_function", "gelu")
    if activation not in ACTIVATIONS:
        raise ConfigError(f"activation_function {activation}: known are {', '.join(ACTIVATIONS)}.")
    if not config.get("tie_word_embeddings", True):
        raise ConfigError("tie_word_embeddings=False: not computed; both sides and the head share a table of tokens.")

    def side(name: str, **keys: Any) -> TransformerOptions:
        return TransformerOptions(
            embedder=TextOptions(
                vocab_size=config["vocab_size"],
                max_length=config["max_position_embeddings"],
                scaled=bool(config.get("scale_embedding", False)),
            ),
            dim=config["d_model"],
            num_layers=config[f"{name}_layers"],
            hidden_dim=config[f"{name}_ffn_dim"],
            mixer=AttentionOptions(
                num_heads=config[f"{name}_attention_heads"], dropout=float(config.get("attention_dropout", 0.0))
            ),
            feed_forward=ACTIVATIONS[activation],
            norm="layer",
            bias=True,
            dropout=float(config.get("dropout", 0.1)),
            **(keys | changes),
        )

    model = EncoderDecoderOptions(
        encoder=side("encoder", visibility="bidirectional"), decoder=side("decoder", cross=True), shared_embedding=True
    )
    return Description(model, LMHeadOptions() if "Conditional" in architecture else None)


def common_config(description: Described, family: str, prefix: str) -> dict[str, Any]:
    """The content of config.json, for the classes called `prefix`Model and `prefix`ForConditionalGeneration."""
    model, embedder = description.model, description.model.embedder
    assert isinstance(embedder, TextOptions)
    found: dict[str, Any] = {
        "model_type": family,
        "architectures": [architecture_of(description, prefix)],
        "is_encoder_decoder": True,
        "vocab_size": embedder.vocab_size,
        "max_position_embeddings": longest_of(model),
        "scale_embedding": embedder.scaled,
        "d_model": model.dim,
        "activation_function": THEIR_ACTIVATIONS[model.decoder.feed_forward],
        "dropout": model.decoder.dropout,
        "attention_dropout": model.decoder.mixer.dropout,
        "tie_word_embeddings": True,
    }
    for name, side in sides_of(model).items():
        found[f"{name}_layers"] = side.num_layers
        found[f"{name}_ffn_dim"] = side.hidden_width
        found[f"{name}_attention_heads"] = side.mixer.num_heads
    return found


def architecture_of(description: Description[Any], prefix: str) -> str:
    """The class with the head there is."""
    return f"{prefix}Model" if description.head is None else f"{prefix}ForConditionalGeneration"


def sides_of(model: EncoderDecoderOptions) -> dict[str, TransformerOptions]:
    """The two transformers by their keys."""
    return {"encoder": model.encoder, "decoder": model.decoder}


def longest_of(model: EncoderDecoderOptions) -> int:
    """The longest text that either side takes (tokens)."""
    return max(side.embedder.longest or 0 for side in sides_of(model).values())


def misfits(description: Described, **wanted: Any) -> list[str]:
    """The keys that keep a model from a family of BART's kin that wants this of both its transformers."""
    encoder = description.model.encoder
    both = {"kind": "transformer", "mixer": HEADS, "hidden_dim": ANY, "norm": "layer", "bias": True}
    both |= {"embedder": {**TEXT, "scaled": ANY}, **wanted}
    # What config.json says once is the encoder's.
    embedder = both["embedder"] | {"scaled": getattr(encoder.embedder, "scaled", None)}
    found = differences(
        description.model,
        encoder=both | {"feed_forward": tuple(THEIR_ACTIVATIONS), "visibility": "bidirectional"},
        decoder=both | {"feed_forward": encoder.feed_forward, "cross": True, "embedder": embedder},
        shared_embedding=True,
    )
    return found + head_differences(description, {"kind": "lm"})
