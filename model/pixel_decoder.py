"""Hidden states of the patches that were seen -> pixels of all patches (He et al. 2022, section 3)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from model.embedders.learned import LearnedTokens
from model.embedders.options import PicturesOptions
from model.options import PixelDecoderOptions, TransformerOptions
from model.positions.grid import grid_places
from model.tokens import Tokens
from model.transformer import Transformer


class PixelDecoder(nn.Module):
    """A narrow transformer over all patches; those that were not seen enter as a learned vector."""

    def __init__(self, options: PixelDecoderOptions, model: TransformerOptions) -> None:
        super().__init__()
        assert isinstance(model.embedder, PicturesOptions)
        self.embed = nn.Linear(model.dim, options.dim)
        self.mask_token = LearnedTokens(1, options.dim)
        self.transformer = Transformer(options.transformer(model))
        self.predict = nn.Linear(options.dim, math.prod(model.embedder.patch) * model.embedder.channels)

    def forward(self, hidden: Tokens, keep_BK: Tensor) -> Tensor:
        """Pixels of every patch [B, N, height * width * channels], in the order of `pixels_of`.

        Args:
            hidden: the prefix and the patches that were seen.
            keep_BK: which patches those are.
        """
        assert hidden.grid is not None
        x_BTD, num_prefix = self.embed(hidden.x), hidden.num_prefix
        seen_BKD = x_BTD[:, num_prefix:]
        all_BND = self.mask_token(len(x_BTD)).to(x_BTD.dtype).expand(-1, math.prod(hidden.grid), -1)
        all_BND = all_BND.scatter(1, keep_BK[..., None].expand_as(seen_BKD), seen_BKD)
        places = grid_places(hidden.grid, num_prefix, device=x_BTD.device)
        entering = replace(hidden, x=torch.cat((x_BTD[:, :num_prefix], all_BND), dim=1), positions=places)
        return self.predict(self.transformer(entering).body)  # type: ignore[no-any-return]


def pixels_of(images: Tensor, patch: tuple[int, ...]) -> Tensor:
    """The pixels of every patch [B, N, values]: patches row by row; in each, its axes in order and channels last.

    Args:
        images: [B, C, height, width], or with frames before the height.
        patch: size of a patch along each axis.
    """
    axes = range(len(patch))
    counts = [size // side for size, side in zip(images.shape[2:], patch, strict=True)]
    shape = [side for pair in zip(counts, patch, strict=True) for side in pair]
    split = images.reshape(*images.shape[:2], *shape)
    order = (0, *(2 + 2 * axis for axis in axes), *(3 + 2 * axis for axis in axes), 1)
    return split.permute(order).reshape(len(images), math.prod(counts), -1)
