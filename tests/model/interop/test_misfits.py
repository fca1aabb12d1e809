"""What a family's class does not compute is not exported to it: every key is refused, or comes back."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from configs.options import Part
from model.embedders.options import PatchesOptions, SpectrogramOptions, TextOptions, WaveformOptions
from model.interop.families import family
from model.interop.family import Description
from model.mixers.options import AttentionOptions
from model.options import (
    ContrastiveHeadOptions,
    EncoderDecoderOptions,
    LMHeadOptions,
    PixelDecoderOptions,
    PoolerOptions,
    TransformerOptions,
    TwoTowerOptions,
)
from model.positions.options import (
    ConvolutionalPositions,
    GridBiasPositions,
    LearnedPositions,
    RelativePositions,
    RotaryPositions,
    SinusoidalPositions,
)

# How a model is trained, and how it is computed fast.
NOT_EXPORTED = {"backend", "documents", "dropout", "init", "int8"}
SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 24}
TEXTS: dict[str, Any] = SIZES | {"vocab_size": 23}
ROTARY = TEXTS | {"rms_norm_eps": 1e-6, "max_position_embeddings": 16}
IMAGES: dict[str, Any] = SIZES | {"image_size": 8, "patch_size": 2}
WAVES: dict[str, Any] = SIZES | {
    "conv_dim": [8, 12],
    "conv_kernel": [5, 3],
    "conv_stride": [3, 2],
    "conv_bias": False,
    "feat_extract_norm": "group",
    "do_stable_layer_norm": False,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "num_codevector_groups": 2,
    "num_codevectors_per_group": 6,
    "codevector_dim": 8,
    "proj_codevector_dim": 10,
}
SIDES = {
    f"{side}_{key}": value
    for side in ("encoder", "decoder")
    for key, value in {"layers": 3, "ffn_dim": 24, "attention_heads": 4}.items()
}
BART: dict[str, Any] = {"vocab_size": 23, "d_model": 16, "max_position_embeddings": 16, **SIDES}
T5 = {"vocab_size": 23, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 3, "num_heads": 4}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": ROTARY,
    "mistral": ROTARY | {"sliding_window": 5},
    "qwen3": ROTARY,
    "gpt2": {"vocab_size": 23, "n_positions": 16, "n_embd": 16, "n_layer": 3, "n_head": 4},
    "bert": TEXTS,
    "roberta": TEXTS,
    "xlm-roberta": TEXTS,
    "xlm-roberta-xl": TEXTS,
    "electra": TEXTS | {"embedding_size": 16},
    "modernbert": TEXTS,
    "vit": IMAGES,
    "deit": IMAGES,
    "beit": IMAGES | {"use_relative_position_bias": True},
    "dinov2": IMAGES,
    "dinov2_with_registers": IMAGES,
    "vit_mae": IMAGES | {"decoder_hidden_size": 16, "decoder_num_attention_heads": 4, "decoder_num_hidden_layers": 3},
    "clip": {"text_config": TEXTS, "vision_config": IMAGES},
    "wav2vec2": WAVES,
    "hubert": WAVES,
    "whisper": BART | {"num_mel_bins": 5, "max_source_positions": 16, "max_target_positions": 16},
    "t5": T5,
    "bart": BART,
    "pegasus": BART,
}
CLASSES = {
    "llama": ("LlamaModel", "LlamaForCausalLM"),
    "mistral": ("MistralModel", "MistralForCausalLM"),
    "qwen3": ("Qwen3Model", "Qwen3ForCausalLM"),
    "gpt2": ("GPT2Model", "GPT2LMHeadModel"),
    "bert": ("BertModel", "BertForMaskedLM"),
    "roberta": ("RobertaModel", "RobertaForMaskedLM"),
    "xlm-roberta": ("XLMRobertaModel", "XLMRobertaForMaskedLM"),
    "xlm-roberta-xl": ("XLMRobertaXLModel", "XLMRobertaXLForMaskedLM"),
    "electra": ("ElectraModel", "ElectraForMaskedLM"),
    "modernbert": ("ModernBertModel", "ModernBertForMaskedLM"),
    "vit": ("ViTModel",),
    "deit": ("DeiTModel",),
    "beit": ("BeitModel",),
    "dinov2": ("Dinov2Model",),
    "dinov2_with_registers": ("Dinov2WithRegistersModel",),
    "vit_mae": ("ViTMAEModel", "ViTMAEForPreTraining"),
    "clip": ("CLIPModel",),
    "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2ForPreTraining"),
    "hubert": ("HubertModel",),
    "whisper": ("WhisperModel", "WhisperForConditionalGeneration"),
    "t5": ("T5Model", "T5ForConditionalGeneration", "T5EncoderModel"),
    "bart": ("BartModel", "BartForConditionalGeneration"),
    "pegasus": ("PegasusModel", "PegasusForConditionalGeneration"),
}
EVERY = "dim hidden_dim num_layers mixer.num_heads"
TEXT = f"{EVERY} norm_eps embedder.vocab_size embedder.max_length"
ROTATED = f"{TEXT} mixer.num_kv_heads mixer.head_dim positions.base positions.scaling"
BERT = f"{TEXT} feed_forward embedder.num_types"
SMALL = "dim num_layers mixer.num_heads feed_forward embedder.image_size embedder.patch_size embedder.channels"
IMAGE = f"{SMALL} norm_eps"
CONVOLUTIONS = "embedder.widths embedder.kernels embedder.strides embedder.conv_bias embedder.conv_norm"
WAVE = f"{EVERY} feed_forward {CONVOLUTIONS} embedder.mask_token positions.kernel positions.groups"
# Keys of both sides that config.json says once have to change on both, and then are refused on one.
BOTH = " ".join(f"{side}.{key}" for side in ("encoder", "decoder") for key in EVERY.split() if key != "dim")
HELD = {
    "LlamaModel": f"{ROTATED} bias mixer.bias",
    "LlamaForCausalLM": "head.tied",
    "MistralModel": f"{ROTATED} mixer.window",
    "MistralForCausalLM": "head.tied",
    "Qwen3Model": f"{ROTATED} mixer.window mixer.bias",
    "Qwen3ForCausalLM": "head.tied",
    "GPT2Model": f"{TEXT} feed_forward",
    "GPT2LMHeadModel": "head.tied",
    "BertModel": BERT,
    "BertForMaskedLM": "head.tied",
    "RobertaModel": f"{BERT} positions.offset",
    "RobertaForMaskedLM": "head.tied",
    "XLMRobertaModel": f"{BERT} positions.offset",
    "XLMRobertaForMaskedLM": "head.tied",
    "XLMRobertaXLModel": f"{BERT} positions.offset",
    "XLMRobertaXLForMaskedLM": "head.tied",
    "ElectraModel": f"{BERT} embedding_dim",
    "ElectraForMaskedLM": "head.tied",
    "ModernBertModel": f"{TEXT} feed_forward norm_bias bias mixer.bias positions.base",
    "ModernBertForMaskedLM": "head.tied head.bias head.transform head.transform_bias",
    "ViTModel": f"{IMAGE} hidden_dim head.activation head.width",
    "DeiTModel": f"{IMAGE} hidden_dim head.activation head.width",
    "BeitModel": f"{SMALL} hidden_dim positions layer_scale embedder.mask_token positions.shared",
    "Dinov2Model": f"{IMAGE} layer_scale embedder.mask_token",
    "Dinov2WithRegistersModel": f"{IMAGE} layer_scale embedder.num_registers",
    "ViTMAEModel": f"{IMAGE} hidden_dim",
    "ViTMAEForPreTraining": f"{IMAGE} hidden_dim head.dim head.num_layers head.mixer head.hidden_dim",
    "CLIPModel": "width logit_scale end_token image.hidden_dim "
    + " ".join(f"image.{key}" for key in IMAGE.split())
    + " ".join(f" text.{key}" for key in f"{TEXT} feed_forward".split()),
    "Wav2Vec2Model": WAVE,
    "Wav2Vec2ForPreTraining": f"{WAVE} head.num_codebooks head.num_entries head.code_dim head.dim",
    "HubertModel": f"{WAVE} embedder.feature_norm",
    "WhisperModel": f"{BOTH} encoder.embedder.num_bands decoder.embedder.vocab_size decoder.embedder.max_length",
    "WhisperForConditionalGeneration": "head.tied",
    "T5Model": "encoder.num_layers decoder.num_layers",
    "T5ForConditionalGeneration": "head.tied",
    "T5EncoderModel": f"{EVERY} feed_forward norm_eps mixer.head_dim embedder.vocab_size"
    " positions.num_buckets positions.max_distance",
    "BartModel": BOTH,
    "BartForConditionalGeneration": "",
    "PegasusModel": BOTH,
    "PegasusForConditionalGeneration": "",
}
"By class, keys that its config.json holds; of classes with a head of tokens, those of the head."


def whole(name: str, architecture: str = "") -> Description[Any]:
    """A model of the family, as its own config.json describes it: of its richest class, where none is named."""
    return family(name).describe(CONFIGS[name], architecture or CLASSES[name][min(1, len(CLASSES[name]) - 1)])


def other_values(part: Part, within: Any) -> dict[str, list[Any]]:
    """By key of a part of `within`, values that make another model of it."""
    bias = getattr(within, "bias", False)
    if isinstance(part, TransformerOptions):
        return {
            "dim": [32],
            "mixer": [],
            "cross": [],  # of an encoder-decoder, where its sides decide
            "feed_forward": ["relu", "reglu", "none"],
            "hidden_dim": [40],
            "norm": ["rms" if part.norm == "layer" else "layer"],
            "norm_eps": [0.25],
            "norm_place": ["sandwich", "pre" if part.norm_place == "post" else "post"],
            "mixer_norm": [False],
            "norm_bias": [not part.norm_has_bias],
            "positions": [{"kind": "none"}, {"kind": "alibi"}, {"kind": "relative"}, {"kind": "sinusoidal"}],
            "bias": [not bias],
            "layer_scale": [0.5],
            "parallel": [True],
            "embedder": [{"kind": "vectors", "max_length": 16}],
            "num_layers": [2],
            "plan": [
                [{"times": 2}],
                [{"times": 0}, {}],
                [{}, {"hidden_dim": 8}],
                [{}, {"positions": {"kind": "none"}}],
            ],
            "visibility": [kind for kind in ("causal", "bidirectional", "prefix") if kind != part.visibility],
            "embedding_dim": [8],
            "embedding_norm": [not part.embedding_norm],
            "final_norm": [not part.has_final_norm],
        }
    if isinstance(part, AttentionOptions):
        bias = bias if part.bias is None else part.bias
        return {
            "num_heads": [8],
            "num_kv_heads": [2],
            "head_dim": [8],
            "window": [2],
            "bias": [not bias],
            "key_bias": [not bias],
            "output_bias": [not bias],
            "qk_norm": ["rms"],
            "softcap": [5.0],
            "scale": [0.1],
            "global_tokens": [],  # means nothing without one of the next two, or a window
            "dilation": [2],
            "block": [4],
        }
    if isinstance(part, LMHeadOptions):
        return {
            "tied": [not part.tied],
            "bias": [not part.bias],
            "transform": ["silu", None],
            "transform_bias": [not part.transform_bias],
            "transform_norm": [not part.transform_norm],
            "transform_norm_bias": [not (part.transform_bias and part.transform_norm_bias)],
            "norm_eps": [0.125],
            "width": [8],
            "scale": [0.5],
        }
    by_class: dict[type[Part], dict[str, list[Any]]] = {
        EncoderDecoderOptions: {"encoder": [], "decoder": [], "shared_embedding": [False, True]},
        TwoTowerOptions: {"image": [], "text": [], "width": [7], "logit_scale": [1.5], "end_token": [2, 5]},
        TextOptions: {"vocab_size": [29], "max_length": [20], "num_types": [4], "scaled": [True]},
        PatchesOptions: {
            "image_size": [16, (8, 4)],
            "patch_size": [4],
            "channels": [1],
            "cls": [False],
            "num_extra": [0, 1, 2],
            "num_registers": [0, 2],
            "mask_token": [False, True],
            "bias": [False, True],
        },
        WaveformOptions: {
            "widths": [[8, 16]],
            "kernels": [[7, 3]],
            "strides": [[2, 2]],
            "conv_bias": [True],
            "conv_norm": ["layer"],
            "activation": ["relu"],
            "feature_norm": [False],
            "norm_eps": [0.5],
            "mask_token": [False, True],
        },
        SpectrogramOptions: {"num_bands": [7], "max_length": [20]},
        RotaryPositions: {"base": [77.0], "scaling": [{"factor": 8.0, "original_length": 4}]},
        LearnedPositions: {"offset": [0, 1, 3], "antialias": [False, True]},
        SinusoidalPositions: {"layout": ["interleaved"], "base": [77.0], "last_axis_first": [False, True]},
        ConvolutionalPositions: {"kernel": [5], "groups": [4], "activation": ["relu"]},
        RelativePositions: {"num_buckets": [8], "max_distance": [10]},
        GridBiasPositions: {"shared": [True]},
        PoolerOptions: {
            "pool": ["first", "mean"],
            "norm": [False, True],
            "norm_eps": [0.5],
            "activation": ["relu", None],
            "width": [8],
        },
        PixelDecoderOptions: {
            "dim": [32],
            "num_layers": [2],
            "mixer": [{"kind": "attention", "num_heads": 2}, {"kind": "attention", "num_heads": 4, "softcap": 5.0}],
            "hidden_dim": [40],
        },
        ContrastiveHeadOptions: {"num_codebooks": [4], "num_entries": [7], "code_dim": [16], "dim": [12]},
    }
    return by_class[type(part)]


def what_it_computes(description: Description[Any]) -> dict[str, Any]:
    """All that counts, a plan by its layers, and what follows from other keys filled in."""
    model, head = description.model, description.head
    if isinstance(head, LMHeadOptions) and head.transform_norm_bias is None:
        head = head.model_copy(update={"transform_norm_bias": head.transform_bias})
    if isinstance(model, TransformerOptions):
        sides = {"model": filled_in(model)}
    else:
        parts = {name: getattr(model, name) for name in type(model).model_fields}
        sides = {name: filled_in(part) if isinstance(part, Part) else part for name, part in parts.items()}
    return sides | {"head": head and head.tree()}


def filled_in(model: Any) -> dict[str, Any]:
    """Of one transformer."""
    mixer = model.mixer
    heads = {"head_dim": mixer.head_width(model.dim), "num_kv_heads": mixer.kv_heads}
    found = model.tree() | {"plan": None, "hidden_dim": model.hidden_width, "mixer": mixer.tree() | heads}
    found |= {"norm_bias": model.norm_has_bias, "final_norm": model.has_final_norm}
    if model.positions.kind in ("relative", "sinusoidal"):
        found["embedder"].pop("max_length", None)  # there is no table, so it is what the model is meant for
    blocks = [
        block.tree()
        | {"norm_bias": block.norm_has_bias, "hidden_dim": block.hidden_width}
        | {"mixer": block.mixer.tree() | heads}
        for block in model.blocks
    ]
    return without_training(found) | {"layers": list(map(without_training, blocks)), "order": model.order}


def without_training(tree: dict[str, Any]) -> dict[str, Any]:
    return {
        key: without_training(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if key not in NOT_EXPORTED
    }


def changed(description: Description[Any], where: str, key: str, value: object) -> Description[Any]:
    """`description` with another value of a key of its `where`: "head", "model", or a part of the model."""
    model, head = description.model, description.head
    if where == "head":
        assert head is not None
        return Description(model, type(head).model_validate(head.tree() | {key: value}))
    tree, path = model.tree(), where.split(".")[1:]
    owner = tree
    for part in path:
        owner = owner[part]
    if key == "positions":
        # A layer's base of rotary positions has no meaning for others.
        owner["plan"] = [{name: item for name, item in group.items() if name != "positions"} for group in owner["plan"]]
    owner[key] = value
    return Description(type(model).model_validate(tree), head)


def parts_of(description: Description[Any]) -> dict[str, tuple[Part, Any]]:
    """Parts by where they stand, each with what it is a part of."""
    model, head = description.model, description.head
    if isinstance(head, LMHeadOptions):  # it depends on keys of the model, so those are changed without it
        return {"head": (head, model)}
    found: dict[str, tuple[Part, Any]] = {"model": (model, None)}
    sides = {"model": model}
    if not isinstance(model, TransformerOptions):
        sides = {f"model.{name}": part for name, part in model if isinstance(part, TransformerOptions)}
    for where, side in sides.items():
        found |= {where: (side, None)} | {
            f"{where}.{key}": (getattr(side, key), side) for key in ("mixer", "embedder", "positions")
        }
    return found | ({} if head is None else {"head": (head, model)})


CASES = [(name, architecture) for name, classes in CLASSES.items() for architecture in classes]


@pytest.mark.parametrize(("name", "architecture"), CASES, ids=[architecture for _, architecture in CASES])
def test_every_key_is_refused_or_comes_back(name: str, architecture: str) -> None:
    found, description = family(name), whole(name, architecture)
    assert found.misfits(description) == []
    held = set()
    for where, (part, within) in parts_of(description).items():
        values = other_values(part, within)
        assert values.keys() | NOT_EXPORTED | {"kind"} >= type(part).model_fields.keys(), "a key that no test changes"
        for key, others in values.items():
            for value in others:
                try:
                    other = changed(description, where, key, value)
                except ValidationError:  # not a model at all
                    continue
                if what_it_computes(other) == what_it_computes(description) or found.misfits(other):
                    continue
                config = found.config(other)
                again = found.describe(config, config["architectures"][0])
                assert what_it_computes(again) == what_it_computes(other), f"{where}.{key}={value}"
                held.add(f"{where}.{key}".removeprefix("model."))
    assert held == set(HELD[architecture].split())


@pytest.mark.parametrize("name", CONFIGS)
def test_each_family_tells_its_models_from_those_of_others(name: str) -> None:
    alike = [{"roberta", "xlm-roberta"}, {"bert", "electra"}, {"wav2vec2", "hubert"}]
    for other in CONFIGS:
        # A Mistral without a window is a Llama; of the same width, a generator's head of tokens is BERT's; and a head
        # of codes is wav2vec 2.0's alone.
        description = whole(other, "Wav2Vec2Model" if {name, other} == {"wav2vec2", "hubert"} else "")
        same = name == other or {name, other} in alike or (name, other) == ("mistral", "llama")
        fits = isinstance(description.model, family(name).describes) and not family(name).misfits(description)
        assert fits == same, other


class NewerModel(TransformerOptions):
    """A transformer that has learned something new."""

    novel: int = 0


class NewerHead(LMHeadOptions):
    """A head that has."""

    novel: int = 0


def newer(model: Any, novel: int) -> Any:
    """`model`, all of whose transformers have something new."""
    if isinstance(model, TransformerOptions):
        return NewerModel.model_validate(model.tree() | {"novel": novel})
    sides = {name: newer(part, novel) for name, part in model if isinstance(part, TransformerOptions)}
    return model.model_copy(update=sides)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_key_that_is_new_is_refused_until_a_family_knows_it(name: str) -> None:
    description, found = whole(name), family(name)
    assert found.misfits(Description(newer(description.model, 0), description.head)) == []
    misfits = found.misfits(Description(newer(description.model, 1), description.head))
    assert misfits
    assert all(misfit.endswith(".novel=1") for misfit in misfits), misfits
    if isinstance(description.head, LMHeadOptions):
        head = NewerHead.model_validate(description.head.tree() | {"novel": 1})
        assert found.misfits(Description(description.model, head)) == ["head.novel=1"]
