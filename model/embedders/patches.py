"""Images and videos -> tokens: a linear projection of every patch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from configs.errors import ConfigError
from model.embedders.learned import LearnedTokens
from model.embedders.options import PicturesOptions
from model.positions.grid import grid_places
from model.tokens import Tokens


class PatchEmbedder(nn.Module):
    """Patches, behind the learned tokens: cls, extra ones, registers.

    A convolution whose stride is its kernel is that projection; its weight has the layout that the field keeps.
    """

    def __init__(self, options: PicturesOptions, dim: int) -> None:
        super().__init__()
        self._options = options
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[len(options.patch)]
        self.projection = convolution(
            options.channels,
            dim,
            kernel_size=options.patch,  # type: ignore[arg-type]
            stride=options.patch,  # type: ignore[arg-type]
            bias=options.bias,
        )
        self.mask_token = LearnedTokens(1, dim) if options.mask_token else None
        self.cls = LearnedTokens(1, dim) if options.cls else None
        self.extra = LearnedTokens(options.num_extra, dim) if options.num_extra else None
        self.registers = LearnedTokens(options.num_registers, dim) if options.num_registers else None

    def forward(self, pixels: Tensor, mask_BN: Tensor | None = None) -> Tokens:
        """The tokens, patches row by row.

        Args:
            pixels: float images [B, C, H, W], normalised (the transform `normalize` makes them), or videos
                [B, C, frames, H, W]. Any size that is a multiple of the patch.
            mask_BN: bool, the patches that the mask token replaces, before positions are added.

        Raises:
            ConfigError: when the sizes do not fit.
        """
        self._require_size(pixels)
        # Engines may keep weights in another precision than the data have.
        patches = self.projection(pixels.to(self.projection.weight.dtype))
        batch, grid = len(patches), tuple(patches.shape[2:])
        x_BND = patches.flatten(2).transpose(1, 2)
        if mask_BN is not None:
            assert self.mask_token is not None
            x_BND = torch.where(mask_BN[..., None], self.mask_token(batch), x_BND)
        prefix = [part(batch) for part in (self.cls, self.extra, self.registers) if part is not None]
        x_BTD = torch.cat((*prefix, x_BND), dim=1)
        num_prefix = self._options.num_prefix
        places = grid_places(grid, num_prefix, device=x_BTD.device)
        return Tokens(x_BTD, places, num_prefix=num_prefix, grid=grid)

    def _require_size(self, pixels: Tensor) -> None:
        channels, sizes = pixels.shape[1], pixels.shape[2:]
        if channels != self._options.channels:
            raise ConfigError(
                f"model.embedder.channels={self._options.channels}: the data have {channels}; change one."
            )
        if any(size % side for size, side in zip(sizes, self._options.patch, strict=True)):
            raise ConfigError(
                f"model.embedder: an input of {list(sizes)} is not a multiple of the patch "
                f"{list(self._options.patch)}; resize it."
            )
