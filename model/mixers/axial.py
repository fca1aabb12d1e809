"""Attention along one axis of the grid that tokens stand on (Ho et al. 2019, axial attention).

Along axis 0 of a table the cells of a column see each other, along axis 1 those of a row.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from configs.errors import ConfigError
from model.mixers.attention import Attention
from model.mixers.mixer import MixerContext, State
from model.mixers.options import AxialOptions
from model.options import BlockOptions
from model.visibility import Places


class Axial(Attention):
    """Attention within every line of tokens along one axis.

    Rules of visibility hold within a line: its first token has place 0. A split runs across axis 0. So along axis 0
    every line is split, and along another axis a line lies on one side and sees all of itself: it is known, or asked
    for, as a whole.
    """

    def __init__(self, options: AxialOptions, block: BlockOptions, *, causal: bool = True) -> None:
        super().__init__(options, block, causal=causal)
        if block.positions.kind not in ("none", "learned", "sinusoidal"):
            raise ConfigError(
                f"model.positions={block.positions.kind}: axial mixers know of no positions but those added to the "
                "stream; choose none, learned or sinusoidal."
            )
        self.axis: int = options.axis
        self._width = self.head_width
        self.head_width = 0  # nothing is rotated

    def asks(self) -> dict[str, Any]:
        return super().asks() | {"head_width": self._width}

    def places(self, places: Places, grid: tuple[int, ...] | None) -> Places:
        _, length = _require(grid, places.index.shape[1], self.axis)
        assert grid is not None
        num_lines = math.prod(grid) // length
        split = places.split
        if split is not None:
            across = split // math.prod(grid[1:]) if self.axis == 0 else torch.full_like(split, length)
            split = across.repeat_interleave(num_lines)
        segment = None if places.segment is None else lines(places.segment, grid, self.axis)
        return Places(torch.arange(length, device=places.index.device)[None], segment, split)

    def forward(self, x_BTD: Tensor, context: MixerContext, memory_BSD: Tensor | None = None) -> Tensor:
        grid, _ = _require(context.grid, x_BTD.shape[1], self.axis)
        mixed = super().forward(lines(x_BTD, grid, self.axis), context)
        return from_lines(mixed, len(x_BTD), grid, self.axis)

    def empty_state(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        raise ConfigError("model.mixer.kind=axial: a grid has no order in which it could be written token by token.")

    def step(self, x_BTD: Tensor, context: MixerContext, state: State) -> tuple[Tensor, State]:
        raise NotImplementedError("axial mixers have no state to start from")

    def materialize(self, x_BTD: Tensor, context: MixerContext) -> Tensor:
        (batch, length), (grid, _) = x_BTD.shape[:2], _require(context.grid, x_BTD.shape[1], self.axis)
        weights_NHLL = super().materialize(lines(x_BTD, grid, self.axis), context)
        index_NL = lines(torch.arange(length, device=x_BTD.device)[None], grid, self.axis)
        whole_BHTT = x_BTD.new_zeros(batch, weights_NHLL.shape[1], length, length)
        weights_BHNLL = weights_NHLL.reshape(batch, -1, *weights_NHLL.shape[1:]).transpose(1, 2)
        whole_BHTT[:, :, index_NL[:, :, None], index_NL[:, None, :]] = weights_BHNLL
        return whole_BHTT


def lines(x: Tensor, grid: tuple[int, ...], axis: int) -> Tensor:
    """Every line of a grid along `axis` as a row: [B, T, ...] -> [B * lines, length, ...]."""
    on_grid = x.reshape(len(x), *grid, *x.shape[2:])
    return on_grid.movedim(1 + axis, len(grid)).flatten(0, len(grid) - 1)


def from_lines(x: Tensor, batch: int, grid: tuple[int, ...], axis: int) -> Tensor:
    """What `lines` undoes: [B * lines, length, ...] -> [B, T, ...]."""
    others = grid[:axis] + grid[axis + 1 :]
    apart = x.reshape(batch, *others, *x.shape[1:])
    return apart.movedim(len(grid), 1 + axis).flatten(1, len(grid))


def _require(grid: tuple[int, ...] | None, num_tokens: int, axis: int) -> tuple[tuple[int, ...], int]:
    """The grid and its length along `axis`, where the tokens fill one that has it."""
    if grid is None or axis >= len(grid) or math.prod(grid) != num_tokens:
        raise ConfigError(
            f"model.mixer.axis={axis}: expected tokens that fill a grid with this axis; {num_tokens} tokens are on "
            f"{'none' if grid is None else f'the grid {grid}'}."
        )
    return grid, grid[axis]
