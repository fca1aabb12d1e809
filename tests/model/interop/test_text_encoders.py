"""Bidirectional text encoders compute what transformers' classes compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from configs.errors import ConfigError
from model.embedders.options import TextOptions
from model.interop.described import DescribedModel
from model.interop.families import family, family_of, imported
from model.interop.family import Description
from model.options import LMHeadOptions, PoolerOptions, ReplacedTokenOptions, SentencePairOptions, TransformerOptions
from tests.model.interop.parity import Pair, pair_of, ragged, tokens_of

VOCAB = 23
SMALL: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
}
BERT_LIKE: dict[str, dict[str, Any]] = {
    "plain": SMALL,
    "deep-relu-tight": SMALL
    | {"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_act": "relu", "layer_norm_eps": 1e-3}
    | {"type_vocab_size": 3, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3},
    "untied-tanh": SMALL | {"hidden_act": "gelu_new", "tie_word_embeddings": False, "num_hidden_layers": 1},
}
NARROW = {"embedding_size": 8}
MODERN = {key: value for key, value in SMALL.items() if key != "type_vocab_size"} | {
    "pad_token_id": 0,
    "num_hidden_layers": 4,
    "local_attention": 6,
}
MODERN_LIKE: dict[str, dict[str, Any]] = {
    "plain": MODERN,
    "biases-silu": MODERN
    | {"attention_bias": True, "norm_bias": True, "hidden_activation": "silu", "norm_eps": 1e-3}
    | {"classifier_bias": True, "classifier_activation": "relu", "num_attention_heads": 2},
    "local-first-untied": MODERN
    | {"layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]}
    | {"tie_word_embeddings": False, "decoder_bias": False, "mlp_bias": True, "local_attention": 3}
    | {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 50.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 7.0},
        }
    },
    "all-full": MODERN | {"num_hidden_layers": 2, "global_attn_every_n_layers": 1, "classifier_bias": True},
}
CLASSES = {
    "bert": ("BertModel", "BertForMaskedLM", "BertForPreTraining"),
    "roberta": ("RobertaModel", "RobertaForMaskedLM"),
    "xlm-roberta": ("XLMRobertaModel", "XLMRobertaForMaskedLM"),
    "xlm-roberta-xl": ("XLMRobertaXLModel", "XLMRobertaXLForMaskedLM"),
    "electra": ("ElectraModel", "ElectraForMaskedLM", "ElectraForPreTraining"),
    "modernbert": ("ModernBertModel", "ModernBertForMaskedLM"),
}


def cases() -> dict[str, tuple[str, dict[str, Any]]]:
    found = {}
    for model_type, classes in CLASSES.items():
        for name, config in (MODERN_LIKE if model_type == "modernbert" else BERT_LIKE).items():
            if model_type == "electra" and name != "plain":
                config = config | NARROW
            elif model_type == "electra":
                config = config | {"embedding_size": 16}
            if "roberta" in model_type and name == "deep-relu-tight":
                config = config | {"pad_token_id": 2}
            for cls in classes:
                found[f"{cls}-{name}"] = (cls, config)
    return found


CASES = cases()


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest) -> Pair:
    import transformers

    name, config = CASES[request.param]
    cls = getattr(transformers, name)
    # Not by their eager attention, whose softmax is in float32.
    found = pair_of(cls(cls.config_class(**config, attn_implementation="sdpa")))
    with torch.no_grad():
        for unused in found.family.computed(found.ours.description):
            found.theirs.get_parameter(unused).zero_()
    return found


def outputs(pair: Pair, tokens: Tensor, lengths: list[int], types: Tensor | None) -> tuple[Tensor, Tensor]:
    """All outputs of their class, of tokens that are no padding, as one vector: (ours, theirs)."""
    keep, mask, segments = ragged(lengths, tokens.shape[1])
    # Padding as their tokenizers write it; RoBERTa counts positions by it.
    padded = tokens.masked_fill(~keep, pair.theirs.config.pad_token_id)  # type: ignore[union-attr,arg-type]
    hidden = pair.ours.transformer(padded, segments, types_BT=types)
    found = pair.theirs(padded, attention_mask=mask, **({} if types is None else {"token_type_ids": types}))
    head = pair.ours.description.head
    theirs, ours = [found[0][keep]], [hidden.x[keep]]
    if isinstance(head, LMHeadOptions):
        ours = [pair.ours.logits(hidden)[keep]]
    elif isinstance(head, ReplacedTokenOptions):
        ours = [pair.ours.head(hidden)[keep]]
    elif isinstance(head, PoolerOptions):
        ours.append(pair.ours.head(hidden))
        theirs.append(found.pooler_output)
    elif isinstance(head, SentencePairOptions):
        logits, relation = pair.ours.head(hidden, pair.ours.transformer.embedder.tokens)  # type: ignore[union-attr]
        ours = [logits[keep], relation]
        theirs.append(found.seq_relationship_logits)
    for mine, expected in zip(ours, theirs, strict=True):
        assert mine.shape == expected.shape
    return torch.cat([item.flatten() for item in ours]), torch.cat([item.flatten() for item in theirs])


@pytest.mark.parametrize(
    ("shape", "lengths"),
    [((2, 12), [12, 12]), ((3, 9), [9, 4, 1]), ((1, 16), [16]), ((4, 5), [2, 5, 3, 1])],
    ids=["full", "ragged", "longest", "short"],
)
def test_outputs_and_gradients_are_the_same(pair: Pair, shape: tuple[int, int], lengths: list[int]) -> None:
    pair.require_same(lambda pair: outputs(pair, tokens_of(shape, VOCAB), lengths, None))


@pytest.mark.parametrize("pair", [name for name in CASES if not name.startswith("ModernBert")], indirect=True)
def test_kinds_of_segments_count(pair: Pair) -> None:
    embedder = pair.ours.description.model.embedder
    assert isinstance(embedder, TextOptions)
    tokens = tokens_of((3, 9), VOCAB)
    types = torch.arange(9).expand(3, -1) % embedder.num_types
    without, _ = outputs(pair, tokens, [9, 4, 1], None)
    found, _ = outputs(pair, tokens, [9, 4, 1], types)
    assert not torch.allclose(found, without)
    pair.require_same(lambda pair: outputs(pair, tokens, [9, 4, 1], types))


def test_round_trip(pair: Pair, tmp_path: Path) -> None:
    pair.require_round_trip(tmp_path)


def test_the_family_claims_its_models(pair: Pair) -> None:
    assert pair.family.misfits(pair.ours.description) == []
    again = family_of(pair.ours.description)
    config = again.config(pair.ours.description)
    assert again.describe(config, config["architectures"][0]) == pair.ours.description


@pytest.mark.parametrize("name", [name for names in CLASSES.values() for name in names])
def test_keys_that_are_missing_have_the_defaults_of_their_class(name: str) -> None:
    import transformers

    config = getattr(transformers, name).config_class().to_dict()
    found = family(config["model_type"])
    assert found.describe({}, name) == found.describe(config, name)


def described(model_type: str, **changes: object) -> Description:
    """What a config.json describes, to the class with a head."""
    config = (MODERN if model_type == "modernbert" else SMALL) | changes
    return family(model_type).describe(config, next(iter(family(model_type).architectures)))


@pytest.mark.parametrize(
    ("model_type", "changes", "expected"),
    [
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type relative_key"),
        ("roberta", {"is_decoder": True}, "is_decoder True"),
        ("electra", {"add_cross_attention": True}, "add_cross_attention True"),
        ("xlm-roberta-xl", {"hidden_act": "mish"}, "hidden_act mish"),
        ("modernbert", {"hidden_activation": "quick_gelu"}, "hidden_activation quick_gelu"),
        ("modernbert", {"classifier_activation": "mish"}, "classifier_activation mish"),
        ("modernbert", {"mlp_dropout": 0.1}, r"mlp_dropout 0\.1"),
        ("modernbert", {"local_attention": 1}, "local_attention 1"),
        ("modernbert", {"layer_types": ["full_attention"]}, r"layer_types .* each of 4 layers"),
        ("modernbert", {"layer_types": ["linear_attention"] * 4}, "layer_types .*linear_attention"),
        ("modernbert", {"rope_parameters": {"sliding_attention": {"rope_type": "yarn"}}}, "rope_type yarn"),
        ("modernbert", {"rope_scaling": {"rope_type": "yarn"}}, "rope_scaling .*yarn"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value[:12],
)
def test_what_is_not_computed_is_refused(model_type: str, changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        described(model_type, **changes)


def test_the_words_of_older_files_mean_the_same() -> None:
    types = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
    assert described("modernbert", global_attn_every_n_layers=2) == described("modernbert", layer_types=types)
    bases = {"full_attention": {"rope_theta": 50.0}, "sliding_attention": {"rope_theta": 7.0}}
    old = described("modernbert", global_rope_theta=50.0, local_rope_theta=7.0)
    assert old == described("modernbert", rope_parameters=bases) != described("modernbert")


def test_names_of_norms_converted_from_tensorflow_are_read() -> None:
    ours = DescribedModel(described("bert"))
    shapes = {name: tuple(item.shape) for name, item in ours.named_parameters()}
    old = {"bert.embeddings.LayerNorm.gamma": torch.rand(16), "bert.embeddings.LayerNorm.beta": torch.rand(16)}
    read = imported(old, family("bert"), "BertForMaskedLM", shapes)
    assert torch.equal(read.weights["transformer.embedding_norm.weight"], old["bert.embeddings.LayerNorm.gamma"])
    assert torch.equal(read.weights["transformer.embedding_norm.bias"], old["bert.embeddings.LayerNorm.beta"])
    assert not read.unexpected


@pytest.mark.parametrize(
    ("model_type", "exported_as"),
    [(name, "roberta" if name == "xlm-roberta" else name) for name in CLASSES],
    ids=CLASSES,
)
def test_the_first_family_that_computes_a_model_exports_it(model_type: str, exported_as: str) -> None:
    assert family_of(described(model_type)).name == exported_as


def test_a_model_without_the_pooler_comes_back_without() -> None:
    for model_type in ("bert", "roberta"):
        found, bare = family(model_type), Description(described(model_type).model)
        config = found.config(bare)
        assert found.describe(config, config["architectures"][0]) == bare


def test_a_projection_of_the_same_width_is_no_electra() -> None:
    model = described("electra").model
    square = TransformerOptions.model_validate(model.tree() | {"embedding_dim": model.dim})
    assert family("electra").misfits(Description(square)) == ["model.embedding_dim=16, which is model.dim"]


MODERN_MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "first-norm": ({"plan": [{}]}, "model.mixer_norm: false in the first layer, and there alone"),
    "windows": (
        {"plan": [{"mixer_norm": False}, {"repeat": 2, "mixer": {"window": 3}}, {"mixer": {"window": 4}}]},
        "model.mixer.window: several",
    ),
    "bases": (
        {"plan": [{"mixer_norm": False}, {"repeat": 3, "positions": {"base": 3.0}}]},
        "model.positions.base: one with windows, one without",
    ),
    "widths": (
        {"plan": [{"mixer_norm": False}, {"repeat": 3, "hidden_dim": 8}]},
        "model.plan: layers differ in hidden_dim",
    ),
}


@pytest.mark.parametrize("name", MODERN_MISFITS)
def test_other_plans_are_no_modernbert(name: str) -> None:
    changes, expected = MODERN_MISFITS[name]
    model = TransformerOptions.model_validate(described("modernbert").model.tree() | changes)
    assert family("modernbert").misfits(Description(model)) == [expected]
