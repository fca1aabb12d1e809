"""Audio families compute what transformers' classes compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from configs.errors import ConfigError
from configs.recipe import merge
from model.codebooks import ContrastiveHead
from model.embedders.waveform import num_frames
from model.interop.families import family, family_of
from model.interop.family import Rename, to_ours
from model.options import TransformerOptions
from tests.model.interop.parity import Pair, pair_of, ragged, tokens_of

WAVES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "conv_dim": [8, 12, 12],
    "conv_kernel": [5, 3, 2],
    "conv_stride": [3, 2, 2],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "layerdrop": 0.0,
    "mask_time_prob": 0.0,
}
PRE = WAVES | {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
CODES = {"num_codevectors_per_group": 6, "codevector_dim": 8, "proj_codevector_dim": 10, "mask_time_prob": 0.05}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2-post": ("Wav2Vec2Model", WAVES),
    "wav2vec2-pre": ("Wav2Vec2Model", PRE | {"mask_time_prob": 0.05, "num_conv_pos_embeddings": 5}),
    "wav2vec2-post-layer": ("Wav2Vec2Model", WAVES | {"feat_extract_norm": "layer", "hidden_act": "relu"}),
    "wav2vec2-codes-post": ("Wav2Vec2ForPreTraining", WAVES | CODES),
    "wav2vec2-codes-pre": ("Wav2Vec2ForPreTraining", PRE | CODES | {"num_codevector_groups": 4}),
    "hubert-post": ("HubertModel", WAVES | {"mask_time_prob": 0.05, "layer_norm_eps": 1e-3}),
    "hubert-pre": ("HubertModel", PRE | {"feat_proj_layer_norm": False, "feat_extract_activation": "silu"}),
}
SHAPES = pytest.mark.parametrize(
    ("length", "lengths"),
    [(120, [120, 120]), (151, [151, 90, 23]), (64, [64])],
    ids=["full", "ragged", "one"],
)

WHISPER: dict[str, Any] = {
    "vocab_size": 19,
    "num_mel_bins": 5,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20,
    "max_source_positions": 9,
    "max_target_positions": 14,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
WHISPER_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "whisper-model": ("WhisperModel", WHISPER | {"activation_function": "relu", "max_source_positions": 14}),
    "whisper-tied": ("WhisperForConditionalGeneration", WHISPER),
    "whisper-untied": (
        "WhisperForConditionalGeneration",
        WHISPER | {"tie_word_embeddings": False, "d_model": 20, "decoder_layers": 3},
    ),
}


@pytest.fixture(scope="module", params=WHISPER_CASES)
def whisper(request: pytest.FixtureRequest) -> Pair:
    import transformers

    name, config = WHISPER_CASES[request.param]
    cls = getattr(transformers, name)
    return pair_of(cls(cls.config_class(**config, attn_implementation="eager")))


@pytest.mark.parametrize(("shape", "lengths"), [((2, 12), [12, 12]), ((3, 9), [9, 4, 1]), ((1, 14), [14])])
def test_whisper_computes_the_same(whisper: Pair, shape: tuple[int, int], lengths: list[int]) -> None:
    options = whisper.ours.description.model.encoder.embedder
    spectrogram = torch.randn(
        shape[0],
        options.num_bands,
        2 * options.max_length,
        generator=torch.Generator().manual_seed(0),
    )
    tokens = tokens_of(shape, WHISPER["vocab_size"])
    keep, mask, segments = ragged(lengths, shape[1])

    def outputs(pair: Pair) -> tuple[Tensor, Tensor]:
        bands = spectrogram.to(pair.dtype)
        hidden = pair.ours.transformer((bands.transpose(1, 2),), (tokens, segments))
        ours = pair.ours.logits(hidden) if hasattr(pair.ours, "head") else hidden.x
        return ours[keep], pair.theirs(bands, decoder_input_ids=tokens, decoder_attention_mask=mask)[0][keep]

    whisper.require_same(outputs)


def test_whisper_round_trip(whisper: Pair, tmp_path: Path) -> None:
    whisper.require_round_trip(tmp_path)


def test_whisper_is_found_by_what_it_computes(whisper: Pair) -> None:
    description = whisper.ours.description
    assert family_of(description).name == "whisper"
    model = description.model
    other = type(model).model_validate(merge(model.tree(), {"encoder": {"norm_eps": 1e-3}}))
    assert family("whisper").misfits(type(description)(other)) == ["model.encoder.norm_eps=0.001"]


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest) -> Pair:
    import transformers

    name, config = CASES[request.param]
    cls = getattr(transformers, name)
    return pair_of(cls(cls.config_class(**config, attn_implementation="eager")))


@SHAPES
def test_outputs_and_gradients_are_the_same(pair: Pair, length: int, lengths: list[int]) -> None:
    require_same(pair, length, lengths, masked=False)
    if pair.ours.description.model.embedder.mask_token:
        require_same(pair, length, lengths, masked=True)


def require_same(pair: Pair, length: int, lengths: list[int], *, masked: bool) -> None:
    waveform, keep, mask = waves(pair, length, lengths)
    given: dict[str, Any] = {"mask_BT": mask} if masked else {}
    theirs_given = {"mask_time_indices": mask} if masked else {}
    _, attention_mask, _ = ragged(lengths, length)

    def outputs(pair: Pair) -> tuple[Tensor, Tensor]:
        samples = waveform.to(pair.dtype)
        theirs = pair.theirs(samples, attention_mask=attention_mask, **theirs_given)
        ours = pair.ours.transformer(samples, torch.tensor(lengths), **given)
        if not isinstance(getattr(pair.ours, "head", None), ContrastiveHead):
            return ours.x[keep], theirs.last_hidden_state[keep]
        features = pair.ours.transformer.embedder.features(samples)
        predicted, target, *_ = pair.ours.head(features.flatten(0, 1), ours.x.flatten(0, 1), 1.0)
        both = torch.cat((predicted, target), -1).view(*keep.shape, -1)
        return both[keep], torch.cat((theirs.projected_states, theirs.projected_quantized_states), -1)[keep]

    pair.require_same(outputs)


def test_rows_without_lengths_are_rows_without_an_attention_mask(pair: Pair) -> None:
    waveform = waves(pair, 97, [97, 97])[0].double()
    transformer = pair.theirs if not hasattr(pair.theirs, "wav2vec2") else pair.theirs.wav2vec2
    expected = transformer(waveform).last_hidden_state
    torch.testing.assert_close(pair.ours.transformer(waveform).x, expected, rtol=1e-9, atol=1e-9)


def test_features_may_be_given(pair: Pair) -> None:
    waveform, _, _ = waves(pair, 97, [97, 50])
    lengths, transformer = torch.tensor([97, 50]), pair.ours.transformer
    given = transformer(waveform, lengths, features_BTC=transformer.embedder.features(waveform))
    assert torch.equal(given.x, transformer(waveform, lengths).x)


def test_round_trip(pair: Pair, tmp_path: Path) -> None:
    pair.require_round_trip(tmp_path)


def test_the_family_is_found_by_what_it_computes(pair: Pair) -> None:
    found = family_of(pair.ours.description)
    # HuBERT's encoder is wav2vec 2.0's, unless its features have no norm.
    has_norm = pair.ours.description.model.embedder.feature_norm
    assert found.name == ("wav2vec2" if has_norm else "hubert")


def test_what_is_not_computed_is_refused() -> None:
    wav2vec2 = family("wav2vec2")
    config = wav2vec2.config(pair_config := wav2vec2.describe(full_config("wav2vec2-post"), "Wav2Vec2Model"))
    assert wav2vec2.describe(config, "Wav2Vec2Model") == pair_config
    with pytest.raises(ConfigError, match="add_adapter=True: not computed"):
        wav2vec2.describe(config | {"add_adapter": True}, "Wav2Vec2Model")
    with pytest.raises(ConfigError, match="hidden_act=celu"):
        wav2vec2.describe(config | {"hidden_act": "celu"}, "Wav2Vec2Model")


def test_a_model_with_another_attention_fits_no_audio_family() -> None:
    description = family("hubert").describe(full_config("hubert-pre"), "HubertModel")
    changes = {"mixer": {"softcap": 5.0}, "embedding_norm": True}
    other = type(description)(TransformerOptions.model_validate(merge(description.model.tree(), changes)))
    assert family("hubert").misfits(other) == ["model.embedding_norm=True", "model.mixer.softcap=5.0"]


def test_older_files_name_the_weights_of_weight_norm_otherwise() -> None:
    names = [Rename("new", "ours.direction", older="old")]
    for name in ("new", "old"):
        found = to_ours({name: torch.ones(2)}, names, {"ours.direction": (2,)}, ())
        assert found.weights.keys() == {"ours.direction"}
        assert not found.unexpected


def full_config(case: str) -> dict[str, Any]:
    """All keys, defaults of transformers included."""
    import transformers

    name, config = CASES[case]
    return getattr(transformers, name).config_class(**config).to_dict()  # type: ignore[no-any-return]


def waves(pair: Pair, length: int, lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Random waveforms with zeros behind them; frames that are no padding; some of them to be masked."""
    generator = torch.Generator().manual_seed(0)
    waveform = torch.randn(len(lengths), length, generator=generator)
    waveform = waveform * (torch.arange(length) < torch.tensor(lengths)[:, None])
    options = pair.ours.description.model.embedder
    frames = int(num_frames(options, torch.tensor(length)))
    keep = torch.arange(frames) < num_frames(options, torch.tensor(lengths))[:, None]
    assert keep.any(1).all()
    return waveform, keep, (torch.rand(keep.shape, generator=generator) < 0.4) & keep
