"""The time that a rank's step is held up by collectives: communication that hides behind nothing, waiting included.

On CPU it is time of the training thread; on CUDA it is time of the stream that computes, between two events around
the place where it waits for the stream that communicates (untested on a GPU). Communication that runs beside
computation costs nothing and is not counted.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch


class BlockedTime:
    """Adds up intervals. Those within another one are counted once."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._seconds = 0.0
        self._depth = 0
        self._started = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def begin(self) -> None:
        """The step stands still from here."""
        self._depth += 1
        if self._depth > 1:
            return
        if self._is_cuda:
            event: Any = torch.cuda.Event
            self._events.append((event(enable_timing=True), event(enable_timing=True)))
            self._events[-1][0].record()
        else:
            self._started = time.perf_counter()

    def end(self) -> None:
        """It goes on."""
        self._depth -= 1
        if self._depth:
            return
        if self._is_cuda:
            self._events[-1][1].record()
        else:
            self._seconds += time.perf_counter() - self._started

    def seconds(self) -> float:
        """All of it so far. On CUDA this waits for the device: read it where the loss is read, too."""
        if self._events:
            self._events[-1][1].synchronize()
            self._seconds += sum(begun.elapsed_time(ended) for begun, ended in self._events) / 1e3
            self._events.clear()
        return self._seconds

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose duration is counted, and the waiting for what it leaves under way."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.begin()
            try:
                result = function(*args, **kwargs)
            finally:
                self.end()
            return _TimedWork(result, self) if isinstance(result, torch.distributed.Work) else result

        return call


class _TimedWork:
    """An asynchronous collective."""

    def __init__(self, work: torch.distributed.Work, blocked: BlockedTime) -> None:
        self._work = work
        self.wait = blocked.timed(work.wait)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)
