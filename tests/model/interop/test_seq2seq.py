"""Encoder-decoder families compute what transformers' classes compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from configs.errors import ConfigError
from configs.recipe import merge
from model.interop.described import DescribedModel
from model.interop.families import exported, family, family_of, imported
from model.interop.family import Description
from model.options import EncoderDecoderOptions, LMHeadOptions
from tests.model.interop.parity import Pair, pair_of, ragged, tokens_of

VOCAB = 23
T5: dict[str, Any] = {
    "vocab_size": VOCAB,
    "d_model": 16,
    "d_kv": 6,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 4,
    # So few that distances within a test reach the logarithmic buckets, and the last one.
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 10,
}
BART: dict[str, Any] = {
    "vocab_size": VOCAB,
    "max_position_embeddings": 16,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
}
UNEQUAL: dict[str, Any] = {"encoder_layers": 1, "decoder_ffn_dim": 40, "decoder_attention_heads": 2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("T5ForConditionalGeneration", T5),
    "t5-1.1-untied": (
        "T5ForConditionalGeneration",
        T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_decoder_layers": 1},
    ),
    "t5-base-silu": ("T5Model", T5 | {"feed_forward_proj": "gated-silu", "d_kv": 4, "layer_norm_epsilon": 1e-3}),
    "t5-encoder": ("T5EncoderModel", T5),
    "t5-encoder-1.1": ("T5EncoderModel", T5 | {"feed_forward_proj": "gated-gelu", "layer_norm_epsilon": 1e-3}),
    "bart": ("BartForConditionalGeneration", BART),
    "bart-unequal-scaled-relu": (
        "BartForConditionalGeneration",
        BART | UNEQUAL | {"scale_embedding": True, "activation_function": "relu"},
    ),
    "bart-base": ("BartModel", BART | {"activation_function": "gelu_new"}),
    "pegasus": (
        "PegasusForConditionalGeneration",
        BART | {"activation_function": "relu", "scale_embedding": True},
    ),
    "pegasus-unequal": ("PegasusForConditionalGeneration", BART | UNEQUAL),
    "pegasus-base": ("PegasusModel", BART | {"activation_function": "relu"}),
}
Side = tuple[int, list[int]]
"Length of the rows, and how much of each is no padding."


def theirs_of(case: str) -> nn.Module:
    import transformers

    name, config = CASES[case]
    cls = getattr(transformers, name)
    model: nn.Module = cls(cls.config_class(**config, attn_implementation="eager"))
    if not config.get("tie_word_embeddings", True):
        # transformers 5 ties a new T5 whatever is asked, and takes it apart so when it reads a file with two matrices.
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
        del model.all_tied_weights_keys["lm_head.weight"]
        model.config.tie_word_embeddings = False
    return model


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest) -> Pair:
    return pair_of(theirs_of(request.param))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: item.detach() for name, item in model.named_parameters()}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((12, [12, 12]), (7, [7, 7])),
        ((9, [9, 4, 1]), (11, [2, 11, 6])),
        ((1, [1]), (16, [16])),
        ((16, [3, 16]), (1, [1, 1])),
    ],
    ids=["even", "ragged", "short-source", "short-target"],
)
def test_outputs_and_gradients_are_the_same(pair: Pair, source: Side, target: Side) -> None:
    (source_length, source_lengths), (target_length, target_lengths) = source, target
    source_BT = tokens_of((len(source_lengths), source_length), VOCAB)
    target_BT = tokens_of((len(target_lengths), target_length), VOCAB, seed=1)
    source_keep, source_mask, source_segments = ragged(source_lengths, source_length)
    target_keep, target_mask, target_segments = ragged(target_lengths, target_length)

    def outputs(pair: Pair) -> tuple[Tensor, Tensor]:
        if pair.architecture == "T5EncoderModel":
            theirs = pair.theirs(input_ids=source_BT, attention_mask=source_mask)[0]
            return pair.ours.transformer(source_BT, source_segments).x[source_keep], theirs[source_keep]
        hidden = pair.ours.transformer((source_BT, source_segments), (target_BT, target_segments))
        ours = pair.ours.logits(hidden) if hasattr(pair.ours, "head") else hidden.x
        theirs = pair.theirs(
            input_ids=source_BT,
            attention_mask=source_mask,
            decoder_input_ids=target_BT,
            decoder_attention_mask=target_mask,
        )[0]
        return ours[target_keep], theirs[target_keep]

    pair.require_same(outputs)


def test_round_trip(pair: Pair, tmp_path: Path) -> None:
    pair.require_round_trip(tmp_path)


def test_the_family_of_a_description_is_the_one_it_came_from(pair: Pair) -> None:
    assert family_of(pair.ours.description) is pair.family


def test_a_shared_table_of_tokens_is_one_parameter_under_one_name(pair: Pair) -> None:
    names = [name for name in pair.ours.state_dict() if "tokens" in name]
    side = "" if pair.architecture == "T5EncoderModel" else "encoder."
    assert names == [f"transformer.{side}embedder.tokens.weight"]
    assert names == [name for name, _ in pair.ours.named_parameters(remove_duplicate=False) if "tokens" in name]


def test_copies_of_the_table_in_a_file_are_no_surprise(pair: Pair) -> None:
    prefix = pair.family.architectures[pair.architecture]
    theirs = exported(weights_of(pair.ours), pair.family, pair.architecture)
    for name in ("encoder", "decoder"):
        theirs[f"{prefix}{name}.embed_tokens.weight"] = theirs[f"{prefix}shared.weight"]
    theirs.setdefault("lm_head.weight", theirs[f"{prefix}shared.weight"])
    shapes = {name: tuple(item.shape) for name, item in weights_of(pair.ours).items()}
    read = imported(theirs, pair.family, pair.architecture, shapes)
    assert not read.missing
    assert not read.unexpected
    assert all(torch.equal(read.weights[name], item) for name, item in weights_of(pair.ours).items())


@pytest.mark.parametrize("name", ["bart", "pegasus"])
def test_a_bias_of_logits_must_be_zero(name: str) -> None:
    theirs = theirs_of(name)
    shapes: dict[str, tuple[int, ...]] = {}
    weights = {"final_logits_bias": torch.zeros(1, VOCAB)}
    assert not imported(weights, family(name), type(theirs).__name__, shapes).unexpected
    weights["final_logits_bias"][0, 3] = 0.5
    with pytest.raises(ConfigError, match="final_logits_bias: is not zero"):
        imported(weights, family(name), type(theirs).__name__, shapes)


@pytest.mark.parametrize(
    ("change", "misfit"),
    [
        ({"decoder": {"norm_place": "pre"}}, "model.decoder.norm_place=pre"),
        ({"encoder": {"visibility": "causal"}}, "model.encoder.visibility=causal"),
        ({"encoder": {"embedding_norm": False}}, "model.encoder.embedding_norm=False"),
        ({"decoder": {"mixer": {"num_kv_heads": 2}}}, "model.decoder.mixer.num_kv_heads=2"),
        ({"decoder": {"mixer": {"head_dim": 6}}}, "model.decoder.mixer.head_dim=6"),
        ({"encoder": {"embedder": {"max_length": 12}}}, "model.encoder.embedder.max_length=12"),
        ({"decoder": {"feed_forward": "swiglu"}}, "model.decoder.feed_forward=swiglu"),
        ({"encoder": {"feed_forward": "relu"}}, "model.decoder.feed_forward=gelu"),
        (
            {"decoder": {"plan": [{"repeat": 1}, {"repeat": 1, "times": 2}]}},
            "model.decoder.plan: layers are run several times, or not at all",
        ),
        ({"shared_embedding": False}, "model.shared_embedding=False"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_keeps_a_model_from_a_family_is_named(change: dict[str, Any], misfit: str) -> None:
    described = family("bart").describe(BART, "BartForConditionalGeneration")
    model = EncoderDecoderOptions.model_validate(merge(described.model.tree(), change))
    assert family("bart").misfits(Description(model, described.head)) == [misfit]
    with pytest.raises(ConfigError, match=r"bart: not with model\."):
        family_of(Description(model, described.head))


def test_a_head_that_t5_has_not_is_named() -> None:
    described = family("t5").describe(T5, "T5ForConditionalGeneration")

    def misfits(head: LMHeadOptions) -> list[str]:
        return family("t5").misfits(Description(described.model, head))

    assert misfits(LMHeadOptions(tied=False, scale=0.25)) == []
    assert misfits(LMHeadOptions(scale=0.5)) == ["head.scale=0.5"]
    assert misfits(LMHeadOptions(scale=0.25, bias=True)) == ["head.bias=True"]


@pytest.mark.parametrize("name", ["mt5", "umt5"])
def test_kin_of_t5_that_is_not_computed_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ConfigError, match=f"model_type '{name}': not computed: .*(tied|every layer)"):
        family(name)


def test_a_file_of_a_whole_t5_is_not_taken_for_its_encoder() -> None:
    encoder, whole = (pair_of(theirs_of(case)) for case in ("t5-encoder", "t5"))
    shapes = {name: tuple(item.shape) for name, item in weights_of(encoder.ours).items()}
    theirs = exported(weights_of(whole.ours), whole.family, whole.architecture)
    read = imported(theirs, encoder.family, "T5EncoderModel", shapes)
    assert not read.missing
    assert read.unexpected
    assert all(name.startswith("decoder.") for name in read.unexpected)


def test_meant_lengths_do_not_keep_a_model_without_a_table_of_positions_from_its_family() -> None:
    described = family("t5").describe(T5, "T5Model")
    model = EncoderDecoderOptions.model_validate(
        merge(described.model.tree(), {"decoder": {"embedder": {"max_length": 114}}})
    )
    assert family("t5").misfits(Description(model)) == []


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("t5", T5 | {"feed_forward_proj": "gated-tanh"}, "feed_forward_proj gated-tanh: known are"),
        ("bart", BART | {"activation_function": "tanh"}, "activation_function tanh: known are"),
        ("pegasus", BART | {"tie_word_embeddings": False}, "tie_word_embeddings=False: not computed"),
    ],
    ids=["t5-activation", "bart-activation", "pegasus-untied"],
)
def test_what_is_not_computed_is_refused(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        family(name).describe(config, "ForConditionalGeneration")


def test_a_described_model_is_built_without_memory_for_it(pair: Pair) -> None:
    with torch.device("meta"):
        ours = DescribedModel(pair.ours.description)
    assert {name: item.shape for name, item in ours.named_parameters()} == {
        name: item.shape for name, item in pair.ours.named_parameters()
    }
