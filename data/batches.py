"""How a global batch is cut into ranks and micro-batches.

Row i of the global batch of step s is sample position s G + i, whoever computes it. Step s counts
from 0 here: it is the number of steps already taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from configs.errors import ConfigError
from configs.options import Options


class BatchOptions(Options):
    """Sizes of the batch, in rows (samples)."""

    global_: int = Field(alias="global", gt=0)
    "Rows per optimizer step over all ranks. Changing the number of ranks does not change it."
    micro: int | None = Field(default=None, gt=0)
    "Rows per forward pass on one rank; accumulation follows. Default: the rank's whole share."


@dataclass(frozen=True)
class BatchPlan:
    """One rank's share of every global batch: `num_micro` micro-batches of `micro_rows` rows."""

    global_rows: int
    micro_rows: int
    rank: int
    world_size: int

    @classmethod
    def of(cls, options: BatchOptions, rank: int, world_size: int) -> BatchPlan:
        """Cut the batch, or say which sizes would fit.

        Raises:
            ConfigError: when batch.global is not a multiple of batch.micro times the ranks.
        """
        micro = options.micro or max(1, options.global_ // world_size)
        if options.global_ % (micro * world_size):
            raise ConfigError(_sizes_that_fit(options, micro, world_size))
        return cls(options.global_, micro, rank, world_size)

    @property
    def num_micro(self) -> int:
        """Micro-batches per step (gradient accumulation)."""
        return self.global_rows // (self.micro_rows * self.world_size)

    def positions(self, step: int, micro: int) -> NDArray[np.int64]:
        """Sample positions of one micro-batch of this rank."""
        first = step * self.global_rows + (micro * self.world_size + self.rank) * self.micro_rows
        return np.arange(first, first + self.micro_rows, dtype=np.int64)


def _sizes_that_fit(options: BatchOptions, micro: int, world_size: int) -> str:
    rows = options.global_
    below = rows - rows % (micro * world_size)
    globals_ = [str(size) for size in (below, below + micro * world_size) if size]
    micros = [str(size) for size in range(1, rows + 1) if rows % (size * world_size) == 0]
    worlds = [str(size) for size in range(1, rows + 1) if rows % (micro * size) == 0]
    lines = [
        f"batch.global={rows} cannot be cut into micro-batches of batch.micro={micro} on {world_size} rank(s): "
        f"it must be a multiple of {micro} x {world_size}. What would fit:",
        f"  batch.global={' or '.join(globals_)}, keeping the rest",
        f"  batch.micro={_few(micros)}, keeping the rest" if micros else "",
        f"  {_few(worlds)} rank(s), keeping the rest" if worlds else "",
    ]
    return "\n".join(line for line in lines if line)


def _few(items: list[str]) -> str:
    shown = items if len(items) <= 8 else [*items[:4], "...", *items[-3:]]
    return " or ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
