"""`Wav2Vec2Model`, `Wav2Vec2ForPreTraining` (Baevski et al. 2020).

Convolutions over waveforms, convolutional positions, a post-norm (base) or pre-norm (large) encoder; and the quantiser
of its features. What only regularises training (layer drop, dropout inside feed-forward layers) is left out.
"""

from __future__ import annotations

from typing import Any

from configs.errors import ConfigError
from configs.options import nearest
from model.embedders.options import WaveformOptions
from model.interop.family import ANY, HEADS, Config, Description, Family, Rename, differences, head_differences
from model.mixers.options import AttentionOptions
from model.options import ContrastiveHeadOptions, TransformerOptions
from model.positions.options import ConvolutionalPositions

_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}
_NOT_COMPUTED = {"add_adapter": False, "adapter_attn_dim": None, "conv_pos_batch_norm": False}
_MASKED_SHARE = 0.05  # transformers' default of mask_time_prob: any number above 0 gives the model a mask vector

_BLOCK, _LAYER, _CONV = "blocks.{layer}", "encoder.layers.{layer}", "encoder.pos_conv_embed.conv"
_ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
NAMES = (
    Rename("feature_extractor.conv_layers.{layer}.conv.{leaf}", "embedder.convolutions.{layer}.conv.{leaf}"),
    Rename("feature_extractor.conv_layers.{layer}.layer_norm.{leaf}", "embedder.convolutions.{layer}.norm.{leaf}"),
    Rename("feature_projection.layer_norm.{leaf}", "embedder.norm.{leaf}"),
    Rename("feature_projection.projection.{leaf}", "embedder.projection.{leaf}"),
    Rename("masked_spec_embed", "embedder.mask_token.weight"),
    Rename(f"{_CONV}.bias", "position_embedding.conv.bias"),
    Rename(
        f"{_CONV}.parametrizations.weight.original0", "position_embedding.conv.magnitude", older=f"{_CONV}.weight_g"
    ),
    Rename(
        f"{_CONV}.parametrizations.weight.original1", "position_embedding.conv.direction", older=f"{_CONV}.weight_v"
    ),
    # Before the first block (post-norm) or after the last (pre-norm): under one name there.
    Rename("encoder.layer_norm.{leaf}", "embedding_norm.{leaf}"),
    Rename("encoder.layer_norm.{leaf}", "norm.{leaf}"),
    *(
        Rename(f"{_LAYER}.attention.{theirs}.{{leaf}}", f"{_BLOCK}.mixer.{ours}.{{leaf}}")
        for ours, theirs in _ATTENTION.items()
    ),
    Rename(f"{_LAYER}.layer_norm.{{leaf}}", f"{_BLOCK}.mixer_branch.norm.{{leaf}}"),
    Rename(f"{_LAYER}.feed_forward.intermediate_dense.{{leaf}}", f"{_BLOCK}.feed_forward.up.{{leaf}}"),
    Rename(f"{_LAYER}.feed_forward.output_dense.{{leaf}}", f"{_BLOCK}.feed_forward.down.{{leaf}}"),
    Rename(f"{_LAYER}.final_layer_norm.{{leaf}}", f"{_BLOCK}.feed_forward_branch.norm.{{leaf}}"),
)
HEAD_NAMES = (
    Rename("quantizer.codevectors", "quantizer.codebook.weight"),
    Rename("quantizer.weight_proj.{leaf}", "quantizer.scores.{leaf}"),
    Rename("project_hid.{leaf}", "prediction.{leaf}"),
    Rename("project_q.{leaf}", "target.{leaf}"),
)


def describe(config: Config, architecture: str) -> Description:
    """The model that a config.json describes."""
    head = None
    if architecture == "Wav2Vec2ForPreTraining":
        head = ContrastiveHeadOptions(
            num_codebooks=config["num_codevector_groups"],
            num_entries=config["num_codevectors_per_group"],
            code_dim=config["codevector_dim"],
            dim=config["proj_codevector_dim"],
        )
    return Description(described_model(config), head)


def described_model(config: Config) -> TransformerOptions:
    """The model that a config.json of this family or a related one describes."""
    for key, value in _NOT_COMPUTED.items():
        if config.get(key, value) != value:
            raise ConfigError(f"{key}={config[key]}: not computed.")
    is_pre = config["do_stable_layer_norm"]
    eps = config.get("layer_norm_eps", 1e-5)
    activation = _ours(config, "feat_extract_activation")
    return TransformerOptions(
        embedder=WaveformOptions(
            widths=list(config["conv_dim"]),
            kernels=list(config["conv_kernel"]),
            strides=list(config["conv_stride"]),
            conv_bias=config["conv_bias"],
            conv_norm=config["feat_extract_norm"],
            activation=activation,  # type: ignore[arg-type]
            feature_norm=config.get("feat_proj_layer_norm", True),
            norm_eps=eps,
            dropout=config.get("feat_proj_dropout", 0.0),
            mask_token=max(config.get("mask_time_prob", _MASKED_SHARE), config.get("mask_feature_prob", 0.0)) > 0,
        ),
        dim=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        hidden_dim=config["intermediate_size"],
        mixer=AttentionOptions(num_heads=config["num_attention_heads"], dropout=config.get("attention_dropout", 0.1)),
        feed_forward=_ours(config, "hidden_act"),  # type: ignore[arg-type]
        norm="layer",
        norm_eps=eps,
        norm_place="pre" if is_pre else "post",
        embedding_norm=not is_pre,
        positions=ConvolutionalPositions(
            kernel=config["num_conv_pos_embeddings"],
            groups=config["num_conv_pos_embedding_groups"],
            activation=activation,  # type: ignore[arg-type]
        ),
        visibility="bidirectional",
        bias=True,
        dropout=config.get("hidden_dropout", 0.1),
    )


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a Wav2Vec2Model."""
    codes = dict.fromkeys(("num_codebooks", "num_entries", "code_dim", "dim"), ANY)
    return model_misfits(description.model) + head_differences(description, {"kind": "contrastive", **codes})


def model_misfits(model: TransformerOptions, **embedder: Any) -> list[str]:
    """The keys that keep a model from being one that `described_model` describes; `embedder`: what not all have."""
    convolutions = ("widths", "kernels", "strides", "conv_bias", "conv_norm", "mask_token")
    activation = getattr(model.embedder, "activation", None)
    is_pre = model.norm_place == "pre"
    return differences(
        model,
        embedder=dict.fromkeys(convolutions, ANY)
        | {"kind": "waveform", "activation": tuple(_ACTIVATIONS), "norm_eps": model.norm_eps, **embedder},
        mixer=HEADS,
        feed_forward=tuple(_ACTIVATIONS),
        hidden_dim=ANY,
        norm="layer",
        norm_eps=ANY,
        norm_place=("pre", "post"),
        embedding_norm=not is_pre,
        positions={"kind": "convolutional", "kernel": ANY, "groups": ANY, "activation": activation},
        bias=True,
        visibility="bidirectional",
    )


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    head = description.head
    architecture = "Wav2Vec2Model" if head is None else "Wav2Vec2ForPreTraining"
    found = {"model_type": "wav2vec2", "architectures": [architecture], **model_config(description.model)}
    if isinstance(head, ContrastiveHeadOptions):
        found |= {
            "num_codevector_groups": head.num_codebooks,
            "num_codevectors_per_group": head.num_entries,
            "codevector_dim": head.code_dim,
            "proj_codevector_dim": head.dim,
        }
    return found


def model_config(model: TransformerOptions) -> dict[str, Any]:
    """The keys that `described_model` reads."""
    embedder, positions = model.embedder, model.positions
    assert isinstance(embedder, WaveformOptions)
    assert isinstance(positions, ConvolutionalPositions)
    return {
        "conv_dim": embedder.widths,
        "conv_kernel": embedder.kernels,
        "conv_stride": embedder.strides,
        "num_feat_extract_layers": len(embedder.widths),
        "conv_bias": embedder.conv_bias,
        "feat_extract_norm": embedder.conv_norm,
        "feat_extract_activation": _ACTIVATIONS[embedder.activation],
        "feat_proj_dropout": embedder.dropout,
        "mask_time_prob": _MASKED_SHARE if embedder.mask_token else 0.0,
        "hidden_size": model.dim,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.mixer.num_heads,
        "intermediate_size": model.hidden_width,
        "hidden_act": _ACTIVATIONS[model.feed_forward],
        "layer_norm_eps": model.norm_eps,
        "do_stable_layer_norm": model.norm_place == "pre",
        "num_conv_pos_embeddings": positions.kernel,
        "num_conv_pos_embedding_groups": positions.groups,
        "attention_dropout": model.mixer.dropout,
        "hidden_dropout": model.dropout,
    }


def _ours(config: Config, key: str) -> str:
    """Our name of the activation that `config` names."""
    ours = {theirs: ours for ours, theirs in _ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh", "swish": "silu"}
    name = config.get(key, "gelu")
    if name not in ours:
        raise ConfigError(f"{key}={name}: {nearest(name, ours)}.")
    return ours[name]


FAMILY = Family(
    name="wav2vec2",
    architectures={"Wav2Vec2Model": "", "Wav2Vec2ForPreTraining": "wav2vec2."},
    describe=describe,
    config=config,
    misfits=misfits,
    names=NAMES,
    head_names=HEAD_NAMES,
)
