"""What a family's class does not compute is not exported to it: every key is refused, or comes back."""

from __future__ import annotations

from typing import Any

import pytest

from configs.options import Part
from model.embedders.options import TextOptions
from model.interop.families import family
from model.interop.family import Description
from model.mixers.options import AttentionOptions
from model.options import LMHeadOptions, PoolerOptions, TransformerOptions
from model.positions.options import LearnedPositions, RotaryPositions

# How a model is trained, and how it is computed fast.
NOT_EXPORTED = {"backend", "documents", "dropout", "init"}
SIZES: dict[str, Any] = {"vocab_size": 23, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"rms_norm_eps": 1e-6, "max_position_embeddings": 16, "intermediate_size": 24},
    "gpt2": {"vocab_size": 23, "n_positions": 16, "n_embd": 16, "n_layer": 3, "n_head": 4},
    "electra": {"embedding_size": 16},
}
CLASSES = {
    "llama": ("LlamaModel", "LlamaForCausalLM"),
    "gpt2": ("GPT2Model", "GPT2LMHeadModel"),
    "bert": ("BertModel", "BertForMaskedLM"),
    "roberta": ("RobertaModel", "RobertaForMaskedLM"),
    "xlm-roberta": ("XLMRobertaModel", "XLMRobertaForMaskedLM"),
    "xlm-roberta-xl": ("XLMRobertaXLModel", "XLMRobertaXLForMaskedLM"),
    "electra": ("ElectraModel", "ElectraForMaskedLM"),
    "modernbert": ("ModernBertModel", "ModernBertForMaskedLM"),
}
# Keys besides the sizes that a family's config.json holds.
SIZE_KEYS = {"dim", "num_layers", "hidden_dim", "norm_eps", "mixer.num_heads"} | {
    "embedder.vocab_size",
    "embedder.max_length",
}
BERT_KEYS = {"feed_forward", "embedder.num_types", "head.tied"}
HELD: dict[str, set[str]] = {
    "llama": {"bias", "positions.base", "positions.scaling", "head.tied"}
    | {"mixer.num_kv_heads", "mixer.head_dim", "mixer.bias"},
    "gpt2": {"feed_forward", "head.tied"},
    "bert": BERT_KEYS,
    "roberta": BERT_KEYS | {"positions.offset"},
    "xlm-roberta": BERT_KEYS | {"positions.offset"},
    "xlm-roberta-xl": BERT_KEYS | {"positions.offset"},
    "electra": BERT_KEYS | {"embedding_dim"},
    "modernbert": {
        "bias",
        "feed_forward",
        "norm_bias",
        "positions.base",
        "mixer.bias",
        "head.tied",
        "head.bias",
        "head.transform",
        "head.transform_bias",
    },
}


def whole(name: str, *, head: bool) -> Description:
    """A model of the family, as its own config.json describes it: with its head of tokens, or as the base class."""
    return family(name).describe(SIZES | CONFIGS.get(name, {"intermediate_size": 24}), CLASSES[name][head])


def other_values(part: Part, model: TransformerOptions) -> dict[str, list[Any]]:
    """By key of a part, values that make another model of it."""
    bias = model.bias
    if isinstance(part, TransformerOptions):
        return {
            "dim": [32],
            "mixer": [],
            "cross": [True],
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
        TextOptions: {"vocab_size": [29], "max_length": [20], "num_types": [4], "scaled": [True]},
        RotaryPositions: {"base": [77.0], "scaling": [{"factor": 8.0, "original_length": 4}]},
        LearnedPositions: {
            "offset": [part.offset + 1] if isinstance(part, LearnedPositions) else [],
            "antialias": [True],
        },
        PoolerOptions: {
            "pool": ["mean"],
            "norm": [True],
            "norm_eps": [0.5],
            "activation": ["relu", None],
            "width": [8],
        },
    }
    return by_class[type(part)]


def what_it_computes(description: Description) -> dict[str, Any]:
    """All that counts, a plan by its layers, and what follows from other keys filled in."""
    model, head = description.model, description.head
    heads = {"head_dim": model.mixer.head_width(model.dim), "num_kv_heads": model.mixer.kv_heads}
    whole = model.tree() | {"plan": None, "hidden_dim": model.hidden_width, "mixer": model.mixer.tree() | heads}
    layers = [
        block.tree() | {"hidden_dim": block.hidden_width, "mixer": block.mixer.tree() | heads} for block in model.blocks
    ]
    return {
        "model": without_training(whole),
        "layers": [without_training(layer) for layer in layers],
        "order": model.order,
        "head": head and head.tree(),
    }


def without_training(tree: dict[str, Any]) -> dict[str, Any]:
    return {
        key: without_training(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if key not in NOT_EXPORTED
    }


def changed(description: Description, where: str, key: str, value: object) -> Description:
    """`description` with another value of a key of its `where`: model, head, or a part of the model."""
    model, head = description.model, description.head
    if where == "head":
        assert head is not None
        return Description(model, type(head).model_validate(head.tree() | {key: value}))
    tree = model.tree()
    if key == "positions":
        # A layer's base of rotary positions has no meaning for others.
        tree["plan"] = [group.model_dump(exclude={"positions"}) for group in model.plan]
    tree |= {key: value} if where == "model" else {where: tree[where] | {key: value}}
    return Description(TransformerOptions.model_validate(tree), head)


def parts_of(description: Description) -> dict[str, Part]:
    model, head = description.model, description.head
    if isinstance(head, LMHeadOptions):  # it depends on keys of the model, so those are changed without it
        return {"head": head}
    parts: dict[str, Part] = {"model": model, "mixer": model.mixer, "embedder": model.embedder}
    return parts | {"positions": model.positions} | ({} if head is None else {"head": head})


@pytest.mark.parametrize("head", [False, True], ids=["base", "head"])
@pytest.mark.parametrize("name", HELD)
def test_every_key_is_refused_or_comes_back(name: str, head: bool) -> None:
    found, description = family(name), whole(name, head=head)
    assert found.misfits(description) == []
    held = set()
    for where, part in parts_of(description).items():
        values = other_values(part, description.model)
        assert values.keys() | NOT_EXPORTED | {"kind"} >= type(part).model_fields.keys(), "a key that no test changes"
        for key, others in values.items():
            for value in others:
                other = changed(description, where, key, value)
                if other == description or found.misfits(other):
                    continue
                config = found.config(other)
                again = found.describe(config, config["architectures"][0])
                assert what_it_computes(again) == what_it_computes(other), f"{where}.{key}={value}"
                held.add(key if where == "model" else f"{where}.{key}")
    assert held == {key for key in SIZE_KEYS | HELD[name] if key.startswith("head.") == head}


@pytest.mark.parametrize("name", HELD)
def test_each_family_tells_its_models_from_those_of_others(name: str) -> None:
    for other in HELD:
        description = whole(other, head=True)
        same = name == other or {name, other} == {"roberta", "xlm-roberta"}
        # Of the same width, a generator's head of tokens is BERT's.
        same = same or {name, other} == {"bert", "electra"}
        assert (family(name).misfits(description) == []) == same, other


class NewerModel(TransformerOptions):
    """A transformer that has learned something new."""

    novel: int = 0


class NewerHead(LMHeadOptions):
    """A head that has."""

    novel: int = 0


@pytest.mark.parametrize("name", HELD)
def test_a_key_that_is_new_is_refused_until_a_family_knows_it(name: str) -> None:
    description = whole(name, head=True)
    assert isinstance(description.head, LMHeadOptions)
    for novel, expected in ((0, []), (1, ["model.novel=1", "head.novel=1"])):
        model = NewerModel.model_validate(description.model.tree() | {"novel": novel})
        head = NewerHead.model_validate(description.head.tree() | {"novel": novel})
        found = family(name).misfits(Description(model)) + family(name).misfits(Description(description.model, head))
        assert found == expected
