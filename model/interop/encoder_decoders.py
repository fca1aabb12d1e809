"""What encoder-decoder families have in common: what keeps a model from one; names and keys of BART's kin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from configs.errors import ConfigError
from configs.options import Part
from model.embedders.options import TextOptions
from model.interop.family import Config, Description, Rename
from model.mixers.options import AttentionOptions
from model.options import BlockOptions, EncoderDecoderOptions, FeedForwardKind, LMHeadOptions, TransformerOptions

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

_WITHOUT_EFFECT = {"kind", "backend", "init", "documents", "plan", "num_layers", *BlockOptions.model_fields}
"Keys of a transformer that do not decide what it computes, or that its blocks repeat."

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


def architecture_of(description: Described, prefix: str) -> str:
    """The class with the head there is."""
    return f"{prefix}Model" if description.head is None else f"{prefix}ForConditionalGeneration"


def sides_of(model: EncoderDecoderOptions) -> dict[str, TransformerOptions]:
    """The two transformers by their keys."""
    return {"encoder": model.encoder, "decoder": model.decoder}


def longest_of(model: EncoderDecoderOptions) -> int:
    """The longest text that either side takes (tokens)."""
    return max(side.embedder.longest or 0 for side in sides_of(model).values())


def misfits(
    description: Described,
    describe: Callable[[Config, str], Described],
    config: Callable[[Described], dict[str, Any]],
    activations: Collection[str],
    *,
    free_heads: bool = False,
) -> list[str]:
    """The keys that keep a model from a family: those that do not come back from its config.json.

    Args:
        description: the model, and its head.
        describe: the family's function from config.json.
        config: the family's function to config.json.
        activations: feed-forward layers that it has.
        free_heads: whether heads may be of any width.
    """
    found = [
        f"model.{name}.{misfit}"
        for name, side in sides_of(description.model).items()
        for misfit in _unspeakable(side, activations, free_heads=free_heads)
    ]
    if found:
        return found
    written = config(description)
    again = describe(written, written["architectures"][0])
    for name, side in sides_of(description.model).items():
        for ours, theirs in zip(_computed(side), _computed(sides_of(again.model)[name]), strict=True):
            found += [f"model.{name}.{difference}" for difference in _differences(ours, theirs)]
    if not description.model.shared_embedding:
        found.append("model.shared_embedding=False")
    if description.head is not None and again.head is not None:
        found += [f"head.{difference}" for difference in _differences(description.head.tree(), again.head.tree())]
    return list(dict.fromkeys(found))


def _unspeakable(side: TransformerOptions, activations: Collection[str], *, free_heads: bool) -> Iterator[str]:
    """Keys of one side that no config.json of the family could say."""
    if not isinstance(side.embedder, TextOptions):
        yield f"embedder={side.embedder.kind}"
    if side.feed_forward not in activations:
        yield f"feed_forward={side.feed_forward}"
    if not _is_attention(side.mixer):
        yield f"mixer={side.mixer.kind}"
    elif not free_heads and side.mixer.head_width(side.dim) * side.mixer.num_heads != side.dim:
        yield f"mixer.head_dim={side.mixer.head_dim}"


def _is_attention(mixer: Part) -> bool:
    return isinstance(mixer, AttentionOptions)


def _computed(side: TransformerOptions) -> list[dict[str, Any]]:
    """What decides the outputs of one side, defaults filled in: the whole, then block after block."""
    whole = {key: value for key, value in side.tree().items() if key not in _WITHOUT_EFFECT}
    whole |= {"embedding_dim": side.width_of_embedder, "final_norm": side.has_final_norm, "plan": list(side.order)}
    if side.positions.kind != "learned":
        # Only tables have a length; the others are meant for one.
        whole["embedder"].pop("max_length")
    return [whole, *(_computed_by(block) for block in side.blocks)]


def _computed_by(block: BlockOptions) -> dict[str, Any]:
    tree = block.tree() | {"hidden_dim": block.hidden_width, "norm_bias": block.norm_has_bias}
    mixer = block.mixer
    if _is_attention(mixer):
        bias = block.bias if mixer.bias is None else mixer.bias
        tree["mixer"] |= {
            "num_kv_heads": mixer.kv_heads,
            "head_dim": mixer.head_width(block.dim),
            "scale": mixer.scale or mixer.head_width(block.dim) ** -0.5,
            "bias": bias,
            "key_bias": bias if mixer.key_bias is None else mixer.key_bias,
            "output_bias": bias if mixer.output_bias is None else mixer.output_bias,
        }
        tree["mixer"].pop("dropout")
    tree.pop("dropout")
    return tree


def _differences(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Keys of ours with another value there: "norm_place=post"."""
    for key, value in ours.items():
        other = theirs.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            yield from _differences(value, other, f"{prefix}{key}.")
        elif value != other:
            yield f"{prefix}{key}={value}"
