"""Images and texts in one space (Radford et al. 2021): a transformer for each, and a projection behind it."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from configs.options import construct
from model.options import TwoTowerOptions
from model.tokens import Tokens


class LogitScale(nn.Module):
    """Multiplies by the exponential of a learned number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self._value = value
        self.weight = nn.Parameter(torch.full((1,), value))

    def initial_value(self, _leaf: str, shape: tuple[int, ...], _generator: torch.Generator) -> Tensor:
        """The number that the options give."""
        return torch.full(shape, self._value)

    def forward(self, x: Tensor) -> Tensor:
        """Scale."""
        return x * self.weight.exp()


class TwoTower(nn.Module):
    """Two transformers, whose rows become vectors [B, E] of one space."""

    def __init__(self, options: TwoTowerOptions) -> None:
        super().__init__()
        self.options = options
        self.image = cast(nn.Module, construct(options.image))
        self.text = cast(nn.Module, construct(options.text))
        self.image_projection = nn.Linear(options.image.dim, options.width, bias=False)
        self.text_projection = nn.Linear(options.text.dim, options.width, bias=False)
        self.scale = LogitScale(options.logit_scale)

    def forward(self, images: Tensor, tokens_BT: Tensor, segments_BT: Tensor | None = None) -> Tensor:
        """Scaled cosines of all images and all texts [images, texts].

        Args:
            images: what the embedder of `image` takes.
            tokens_BT: int64 token ids.
            segments_BT: 0, and below 0 for padding.
        """
        images_BE = normalize(self.of_images(images), dim=-1)
        texts_BE = normalize(self.of_texts(tokens_BT, segments_BT), dim=-1)
        return self.scale(images_BE @ texts_BE.T)  # type: ignore[no-any-return]

    def of_images(self, images: Tensor) -> Tensor:
        """The vectors of images, from their first tokens; not of length 1 yet."""
        hidden: Tokens = self.image(images)
        return self.image_projection(hidden.x[:, 0])  # type: ignore[no-any-return]

    def of_texts(self, tokens_BT: Tensor, segments_BT: Tensor | None = None) -> Tensor:
        """The vectors of texts, from where they end; not of length 1 yet."""
        hidden: Tokens = self.text(tokens_BT, segments_BT)
        end = self.options.end_token
        end_B = tokens_BT.argmax(1) if end is None else (tokens_BT == end).int().argmax(1)
        rows_B = torch.arange(len(tokens_BT), device=tokens_BT.device)
        return self.text_projection(hidden.x[rows_B, end_B])  # type: ignore[no-any-return]
