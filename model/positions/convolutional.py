"""Positions from a convolution over the stream, added to it before the first block (Baevski et al. 2020, section 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from model.feed_forward import ACTIVATIONS
from model.positions import options
from model.tokens import Tokens


class ConvolutionalPositions(nn.Module):
    """What a token's neighbours tell of its place: Tokens -> [B, T, D]. Padding counts as zeros."""

    def __init__(self, options: options.ConvolutionalPositions, dim: int, **_sizes: object) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[options.activation]
        self.conv = WeightNormConvolution(dim, options.kernel, options.groups)

    def forward(self, tokens: Tokens) -> Tensor:
        """The vectors to add."""
        x_BTD = tokens.x
        if tokens.segments is not None:
            x_BTD = x_BTD.masked_fill((tokens.segments < 0)[..., None], 0.0)
        return self._activation(self.conv(x_BTD.transpose(1, 2)).transpose(1, 2))


class WeightNormConvolution(nn.Module):
    """A grouped convolution [B, D, T] -> [B, D, T] whose kernel is magnitude x direction (Salimans and Kingma 2016, 2).

    Each of its places has one magnitude. An even kernel reaches one place further back than ahead.
    """

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self._groups = groups
        self._shape = (dim, dim // groups, kernel)  # sharded engines hold parameters without theirs
        self.magnitude = nn.Parameter(torch.empty(1, 1, kernel))
        self.direction = nn.Parameter(torch.empty(self._shape))
        self.bias = nn.Parameter(torch.empty(dim))

    def initial_value(self, leaf: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Kernels of standard deviation 2 / sqrt(kernel D), as fairseq's; zero biases."""
        if leaf == "bias":
            return torch.zeros(shape)
        dim, group_width, kernel = self._shape
        std = 2 / math.sqrt(kernel * dim)
        if leaf == "magnitude":  # the norm that such directions have on average
            return torch.full(shape, std * math.sqrt(dim * group_width))
        return torch.empty(shape).normal_(0.0, std, generator=generator)

    def forward(self, x_BDT: Tensor) -> Tensor:
        """Convolve, as long as the input."""
        norm = torch.linalg.vector_norm(self.direction, dim=(0, 1), keepdim=True)
        weight = self.direction * (self.magnitude / norm)
        convolved = conv1d(x_BDT, weight, self.bias, padding=self._shape[-1] // 2, groups=self._groups)
        return convolved[..., : x_BDT.shape[-1]]
