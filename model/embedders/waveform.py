"""Raw waveforms -> frames, by strided convolutions (Baevski et al. 2020, section 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.embedders.options import WaveformOptions
from model.feed_forward import ACTIVATIONS
from model.tokens import Tokens


class WaveformEmbedder(nn.Module):
    """Waveform [B, S] -> features [B, T, C] (`features`) -> tokens [B, T, D].

    The features are what lies before the projection, and before anything is masked: the targets of wav2vec 2.0.
    """

    def __init__(self, options: WaveformOptions, dim: int) -> None:
        super().__init__()
        self._options = options
        widths = [1, *options.widths]
        self.convolutions = nn.ModuleList(
            ConvolutionLayer(options, widths[number], widths[number + 1], number)
            for number in range(len(options.widths))
        )
        self.norm = nn.LayerNorm(widths[-1], eps=options.norm_eps) if options.feature_norm else nn.Identity()
        self.projection = nn.Linear(widths[-1], dim)
        self.dropout = nn.Dropout(options.dropout)
        self.mask_token = MaskToken(dim) if options.mask_token else None

    def features(self, waveform_BS: Tensor) -> Tensor:
        """The normalised features [B, T, C] of every frame."""
        x_BCT = waveform_BS[:, None].to(self.projection.weight.dtype)
        for convolution in self.convolutions:
            x_BCT = convolution(x_BCT)
        return self.norm(x_BCT.transpose(1, 2))  # type: ignore[no-any-return]

    def forward(
        self,
        waveform_BS: Tensor,
        lengths_B: Tensor | None = None,
        *,
        mask_BT: Tensor | None = None,
        features_BTC: Tensor | None = None,
    ) -> Tokens:
        """The tokens.

        Args:
            waveform_BS: samples; rows may end in padding.
            lengths_B: int64, samples before the padding; default: there is none. Frames that reach into the padding
                are padding.
            mask_BT: bool, frames whose vectors are replaced by the learned one.
            features_BTC: what `features` made of the waveform, where that is known already.
        """
        if features_BTC is None:
            features_BTC = self.features(waveform_BS)
        x_BTD = self.dropout(self.projection(features_BTC))
        if mask_BT is not None:
            assert self.mask_token is not None
            x_BTD = self.mask_token(x_BTD, mask_BT)
        index_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        segments_BT = None
        if lengths_B is not None:
            segments_BT = (index_T < num_frames(self._options, lengths_B)[:, None]).long() - 1
        return Tokens(x_BTD, index_T[None], segments_BT)


def num_frames(options: WaveformOptions, lengths_B: Tensor) -> Tensor:
    """How many whole frames there are in so many samples: int64 [B]; below 1 where there is none."""
    for kernel, stride in zip(options.kernels, options.strides, strict=True):
        lengths_B = (lengths_B - kernel) // stride + 1
    return lengths_B


class ConvolutionLayer(nn.Module):
    """Convolution, norm, activation: [B, C, T] -> [B, C', T']."""

    def __init__(self, options: WaveformOptions, width_in: int, width: int, number: int) -> None:
        super().__init__()
        self._is_per_frame = options.conv_norm == "layer"
        self._activation = ACTIVATIONS[options.activation]
        self.conv = Convolution(
            width_in, width, options.kernels[number], stride=options.strides[number], bias=options.conv_bias
        )
        if self._is_per_frame:
            self.norm: nn.Module = nn.LayerNorm(width)
        else:
            self.norm = nn.Identity() if number else nn.GroupNorm(width, width)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """All three."""
        x_BCT = self.conv(x_BCT)
        x_BCT = self.norm(x_BCT.transpose(1, 2)).transpose(1, 2) if self._is_per_frame else self.norm(x_BCT)
        return self._activation(x_BCT)


class Convolution(nn.Conv1d):
    """A convolution whose initial weights keep the variance of rectified inputs (He et al. 2015, eq. 10).

    Most of the stack has no norm: the small weights of a transformer would let its signal vanish.
    """

    def initial_value(self, leaf: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Normal weights of variance 2 / inputs, zero biases."""
        if leaf == "bias":
            return torch.zeros(shape)
        return torch.empty(shape).normal_(0.0, math.sqrt(2 / math.prod(shape[1:])), generator=generator)


class MaskToken(nn.Module):
    """One learned vector for all masked frames: [B, T, D] -> [B, T, D]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim))

    def initial_value(self, _leaf: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Uniform on [0, 1), as fairseq's."""
        return torch.empty(shape).uniform_(generator=generator)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Put it where `mask_BT` says."""
        return torch.where(mask_BT[..., None], self.weight.to(x_BTD.dtype), x_BTD)
