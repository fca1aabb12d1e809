"""A step that does not end: every rank writes down where it stands, and the job ends instead of hanging.

Each rank watches itself. When one of them stops answering, the others stand in a collective with it, pass the limit
too, and say so: their stacks and the one rank without any tell who it was. Stacks go to stderr and to
`runs/<name>/stalls/rank-00000.txt`. The process leaves with EXIT_STALLED; the launcher ends the other ranks.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

EXIT_STALLED = 76
"EX_PROTOCOL of sysexits.h: the other side stopped answering."

_LOOKS_PER_LIMIT = 10


class Watchdog:
    """Ends this process when a step takes longer than the limit. Without one, it does nothing."""

    def __init__(self, limit_s: float | None, folder: Path, rank: int) -> None:
        self._limit_s = limit_s
        self._path = folder / f"rank-{rank:05d}.txt"
        self._rank = rank
        self._watched: tuple[int, float] | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        if self._limit_s is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._limit_s is not None:
            self._is_over.set()
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()

    def step(self, step: int) -> None:
        """A step begins: from now on until the next one, or `rest`."""
        self._watched = (step, time.monotonic())

    def rest(self) -> None:
        """What follows may take as long as it likes: probes and checkpoints."""
        self._watched = None

    def _watch(self) -> None:
        assert self._limit_s is not None
        interval = self._limit_s / _LOOKS_PER_LIMIT
        while not self._is_over.wait(interval):
            watched = self._watched
            if watched is not None and time.monotonic() - watched[1] > self._limit_s:
                self._give_up(watched[0])
            # Where something holds the interpreter's lock, this thread stands still too. A thread in C does not.
            faulthandler.dump_traceback_later(2 * self._limit_s, exit=True, file=sys.__stderr__ or 2)

    def _give_up(self, step: int) -> None:
        """Write every thread's stack and leave."""
        text = (
            f"polytrain: error: rank {self._rank} on {socket.gethostname()}: step {step} takes longer than "
            f"train.stall_limit_s={self._limit_s:g}. It stands here, and other ranks where their stacks say "
            f"(stderr, {self._path.parent}); a rank without any has stopped. The same command goes on from the "
            "newest checkpoint.\n"
        )
        # The file after stderr: a disk that hangs may be the reason.
        _dump(2, text)
        try:
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("w") as file:
                _dump(file.fileno(), text)
        finally:
            os._exit(EXIT_STALLED)


def _dump(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode())
    faulthandler.dump_traceback(descriptor, all_threads=True)
