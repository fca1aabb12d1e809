"""Where the time of steps goes, on this rank and over ranks; who is slow; memory.

A row's figures are means over the steps since the last row; probes and checkpoints are counted apart. What a rank does
itself is its step time less the time it is held up by others: in the reduction that opens a step, and in the engine's
collectives (`train.engines.blocked`). Ranks meet in one gather per row, and never for a step.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psutil
import torch

from train.world import World

SLOW = 1.25
"A rank is slow in a row when its own time is more than this times the median of the others..."
SLOW_ROWS = 3
"...and a straggler when it was in so many rows, one after the other."

T = TypeVar("T")


class StepClock:
    """Times and counts since the last row. Every rank has one, and asks it for rows together with the others."""

    def __init__(self, world: World, blocked_s: Callable[[], float]) -> None:
        """`blocked_s` tells how long collectives have held up this rank, in all (`Engine.blocked_s`)."""
        self._world = world
        self._blocked_s = blocked_s
        self._process = psutil.Process()
        self._hosts = [str(host) for host in world.gather(socket.gethostname())]
        self._stragglers = Stragglers(world.size)
        self._begin()

    def waiting_for_data(self, wait: Callable[[], T]) -> T:
        """Call `wait`, which brings the next batch."""
        before = time.perf_counter()
        result = wait()
        self._data_wait += time.perf_counter() - before
        return result

    def waiting_for_ranks(self, reduce: Callable[[], T]) -> T:
        """Call `reduce`, in which ranks meet."""
        before = time.perf_counter()
        result = reduce()
        self._sync += time.perf_counter() - before
        return result

    @contextmanager
    def aside(self, kind: str) -> Iterator[None]:
        """Time that belongs to no step: "probe" or "checkpoint"."""
        before, blocked = time.perf_counter(), self._blocked_s()
        yield
        self._aside[kind] += time.perf_counter() - before
        self._blocked_before += self._blocked_s() - blocked

    def add(self, targets: int) -> None:
        """Count a step, with the targets of all ranks."""
        self._steps += 1
        self._targets += targets

    def row(self) -> dict[str, Any]:
        """The figures since the last row (units and meaning: `train.metrics`), and begin anew. All ranks call this."""
        elapsed = time.perf_counter() - self._started - sum(self._aside.values())
        blocked = self._blocked_s() - self._blocked_before
        own = elapsed - self._sync - blocked
        times = [seconds / self._steps for seconds in (own, self._data_wait, blocked, self._sync)]
        columns = list(zip(*self._world.rows([*times, *self._memory_mb()]), strict=True))
        figures = self._figures(elapsed / self._steps, columns)
        self._begin()
        return figures

    def _figures(self, step_s: float, columns: list[tuple[float, ...]]) -> dict[str, Any]:
        own, data_wait, blocked, sync, rss, device_peak, device_reserved = columns
        slow = self._stragglers.add(own)
        is_cuda = self._world.device.type == "cuda"
        return {
            "tokens_per_s": round(self._targets / (step_s * self._steps), 1),
            "step_s": round(step_s, 6),
            "data_wait_s": round(max(data_wait), 6),
            "data_wait_share": round(max(data_wait) / step_s, 4),
            "comm_s": round(statistics.fmean(blocked), 6),
            "comm_share": round(statistics.fmean(blocked) / step_s, 4),
            "sync_s": round(statistics.fmean(sync), 6),
            "own_s_min": round(min(own), 6),
            "own_s_median": round(statistics.median(own), 6),
            "own_s_max": round(max(own), 6),
            "slowest_rank": own.index(max(own)),
            "straggler": None if slow is None else f"rank {slow} on {self._hosts[slow]}",
            "probe_s": round(self._aside["probe"], 3),
            "checkpoint_s": round(self._aside["checkpoint"], 3),
            "rss_mb": round(max(rss), 1),
            "device_peak_mb": round(max(device_peak), 1) if is_cuda else None,
            "device_reserved_mb": round(max(device_reserved), 1) if is_cuda else None,
        }

    def _memory_mb(self) -> list[float]:
        """Resident on the host; allocated at most since the last row, and reserved, on the device."""
        found = [self._process.memory_info().rss, 0, 0]
        if self._world.device.type == "cuda":
            found[1:] = torch.cuda.max_memory_allocated(), torch.cuda.memory_reserved()
            torch.cuda.reset_peak_memory_stats()
        return [count / 1e6 for count in found]

    def _begin(self) -> None:
        self._data_wait = self._sync = 0.0
        self._aside = {"probe": 0.0, "checkpoint": 0.0}
        self._steps = self._targets = 0
        self._blocked_before = self._blocked_s()
        self._started = time.perf_counter()


class Stragglers:
    """Which rank is persistently slower than the others."""

    def __init__(self, num_ranks: int) -> None:
        self._rows_slow = [0] * num_ranks

    def add(self, own: tuple[float, ...]) -> int | None:
        """Take in the own times of one row, a rank each; the slowest straggler, if there is one."""
        for rank, seconds in enumerate(own):
            others = own[:rank] + own[rank + 1 :]
            is_slow = bool(others) and seconds > SLOW * statistics.median(others)
            self._rows_slow[rank] = self._rows_slow[rank] + 1 if is_slow else 0
        found = [rank for rank, rows in enumerate(self._rows_slow) if rows >= SLOW_ROWS]
        return max(found, key=own.__getitem__, default=None)
