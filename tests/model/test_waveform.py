"""Waveforms and spectrograms as tokens, and positions from a convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from model.embedders.options import SpectrogramOptions, WaveformOptions
from model.embedders.spectrogram import SpectrogramEmbedder
from model.embedders.waveform import WaveformEmbedder, num_frames
from model.options import TransformerOptions
from model.positions.convolutional import ConvolutionalPositions
from model.positions.options import ConvolutionalPositions as PositionOptions
from model.tokens import Tokens

SMALL: dict[str, Any] = {"widths": [4, 6], "kernels": [5, 3], "strides": [3, 2], "mask_token": True}


def built(module: torch.nn.Module) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return module.double().eval()


def waves(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(length=st.integers(0, 3000), convolutions=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1))
def test_frames_are_counted_as_convolutions_make_them(length: int, convolutions: list[tuple[int, int]]) -> None:
    kernels, strides = ([pair[side] for pair in convolutions] for side in (0, 1))
    options = WaveformOptions(widths=[1] * len(kernels), kernels=kernels, strides=strides)
    expected = length
    for kernel, stride in convolutions:
        expected = len(range(0, expected - kernel + 1, stride))
    assert max(0, int(num_frames(options, torch.tensor(length)))) == expected


def test_where_frames_are_normalised_one_by_one_padding_changes_nothing() -> None:
    embedder = built(WaveformEmbedder(WaveformOptions(conv_norm="layer", **SMALL), 8))
    waveform = waves(1, 47)
    padded = torch.cat((waveform, waves(1, 20, seed=2)), dim=1)
    alone, beside = embedder(waveform), embedder(padded, torch.tensor([47]))
    frames = alone.x.shape[1]
    assert beside.segments.tolist() == [[0] * frames + [-1] * (beside.x.shape[1] - frames)]
    torch.testing.assert_close(beside.x[:, :frames], alone.x)


def test_masked_frames_are_one_vector_and_the_features_stay() -> None:
    embedder = built(WaveformEmbedder(WaveformOptions(**SMALL), 8))
    waveform = waves(2, 60)
    seen = embedder(waveform).x
    mask = torch.rand(seen.shape[:2], generator=torch.Generator().manual_seed(0)) < 0.5
    masked = embedder(waveform, mask_BT=mask).x
    assert torch.equal(masked[~mask], seen[~mask])
    assert torch.equal(masked[mask], embedder.mask_token.weight.expand(int(mask.sum()), -1))
    assert embedder.features(waveform).shape == (*mask.shape, 6)


def test_kernels_and_strides_are_as_many_as_widths() -> None:
    with pytest.raises(ValidationError, match="as many of each, found 2, 1, 2"):
        WaveformOptions(widths=[4, 4], kernels=[3], strides=[1, 1])


def test_a_spectrogram_has_a_token_for_two_frames() -> None:
    embedder = built(SpectrogramEmbedder(SpectrogramOptions(num_bands=5), 8))
    tokens = embedder(waves(2, 11, 5), torch.tensor([11, 6]))
    assert tokens.x.shape == (2, 6, 8)
    assert tokens.segments.tolist() == [[0] * 6, [0] * 3 + [-1] * 3]


@pytest.mark.parametrize("kernel", [1, 4, 5])
def test_positions_are_a_convolution_over_the_neighbours(kernel: int) -> None:
    module = built(ConvolutionalPositions(PositionOptions(kernel=kernel, groups=2, activation="relu"), 6))
    x_BTD = waves(1, 7, 6)
    conv = module.conv
    weight = conv.direction * conv.magnitude / conv.direction.square().sum((0, 1), keepdim=True).sqrt()
    expected = torch.zeros(7, 6, dtype=torch.float64)
    for place in range(7):
        for channel in range(6):
            total = conv.bias[channel].clone()
            for tap in range(kernel):
                other = place + tap - kernel // 2
                if 0 <= other < 7:
                    group = slice(0, 3) if channel < 3 else slice(3, 6)
                    total = total + weight[channel, :, tap] @ x_BTD[0, other, group]
            expected[place, channel] = total.relu()
    found = module(Tokens(x_BTD, torch.arange(7)[None]))
    torch.testing.assert_close(found[0], expected)


def test_padding_counts_as_zeros_for_positions() -> None:
    module = built(ConvolutionalPositions(PositionOptions(kernel=4, groups=1), 6))
    x_BTD, segments = waves(1, 7, 6), torch.tensor([[0, 0, 0, 0, -1, -1, -1]])
    zeroed = x_BTD * (segments >= 0)[..., None]
    places = torch.arange(7)[None]
    assert torch.equal(module(Tokens(x_BTD, places, segments)), module(Tokens(zeroed, places)))


def test_positions_that_see_ahead_need_a_model_that_does() -> None:
    causal = {
        "embedder": {"vocab_size": 9, "max_length": 8},
        "dim": 8,
        "num_layers": 1,
        "mixer": {"num_heads": 2},
        "positions": {"kind": "convolutional"},
    }
    with pytest.raises(ValidationError, match="visibility is causal"):
        TransformerOptions.model_validate(causal)
