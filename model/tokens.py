"""The hidden stream: vectors, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.visibility import Places

_NO_DOCUMENT = -2
"Not -1, which padding has: what is in front would take part in it."


@dataclass(frozen=True)
class Tokens:
    """Vectors [B, T, D] and what attention and position embeddings need to know about them."""

    x: Tensor
    "[B, T, D]."
    positions: Tensor
    "int64 [1 or B, T]: the place within the document; or [1 or B, T, axes]: the place on a grid (row, column, ...)."
    segments: Tensor | None = None
    "int64 [B, T]: number of the document, below 0 for padding. None: each row is one document without padding."
    num_prefix: int = 0
    "Leading tokens without a place of their own (cls, registers); their `positions` are 0."
    grid: tuple[int, ...] | None = None
    "Size of the whole grid, where tokens stand on one."
    split: Tensor | None = None
    "int64 [B]: how many leading tokens are the prefix (of a prefix language model) or the context (of a table)."

    def with_x(self, x: Tensor) -> Tokens:
        """The same places with other vectors."""
        return replace(self, x=x)

    @property
    def body(self) -> Tensor:
        """The vectors without the prefix [B, T - num_prefix, D]."""
        return self.x[:, self.num_prefix :]

    def places(self) -> Places:
        """What visibility rules see: the index in the row, segments, split."""
        index_T = torch.arange(self.x.shape[1], device=self.x.device)
        return Places(index_T[None], self.segments, self.split)

    def behind(self, x: Tensor) -> Tokens:
        """With further tokens in front, [B, P + T, D]: at places -P ... -1 (of a grid: none), in no document."""
        count = x.shape[1] - self.x.shape[1]
        places = torch.arange(-count, 0, device=x.device)[None]
        if self.positions.dim() == 3:
            places = torch.zeros_like(places)[..., None].expand(-1, -1, self.positions.shape[-1])
        positions = torch.cat((places.expand(len(self.positions), *places.shape[1:]), self.positions), dim=1)
        segments = self.segments
        if segments is not None:
            segments = torch.cat((segments.new_full((len(segments), count), _NO_DOCUMENT), segments), dim=1)
        split = None if self.split is None else self.split + count
        num_prefix = self.num_prefix + count
        return replace(self, x=x, positions=positions, segments=segments, split=split, num_prefix=num_prefix)

    def take(self, index_BK: Tensor) -> Tokens:
        """The prefix, and of the rest the tokens `index_BK` (counted behind the prefix), in that order.

        Not for rows with a split: which tokens belong to it would no longer be known.
        """
        if self.split is not None:
            raise ValueError("tokens with a split cannot be taken from")
        prefix_BP = torch.arange(self.num_prefix, device=index_BK.device).expand(len(index_BK), -1)
        index_BT = torch.cat((prefix_BP, index_BK + self.num_prefix), dim=1)

        def of(tensor: Tensor) -> Tensor:
            tensor = tensor.expand(len(index_BT), *tensor.shape[1:])
            wide = index_BT.view(*index_BT.shape, *[1] * (tensor.dim() - 2)).expand(-1, -1, *tensor.shape[2:])
            return tensor.gather(1, wide)

        segments = None if self.segments is None else of(self.segments)
        return replace(self, x=of(self.x), positions=of(self.positions), segments=segments)
