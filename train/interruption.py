"""Being asked to stop: by a signal (preemption, scancel, Ctrl-C) or because the time is up.

The step that runs is finished, a checkpoint is written, and the process leaves with exit code 75 (EX_TEMPFAIL: try
again), which launch scripts answer by queueing the job again. Whoever asks twice gets out at once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

EXIT_TRY_AGAIN = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

# Launchers pass a signal on to ranks that already had it from the terminal or the scheduler.
SECONDS_OF_ONE_REQUEST = 2.0


class Interrupted(Exception):
    """The run stopped where it was asked to, and can go on."""

    def __init__(self, reason: str, step: int) -> None:
        super().__init__(f"stopped after step {step}, which is saved: {reason}. The same command goes on from there.")


class Interruption:
    """While it is entered, signals ask for an end instead of ending the process."""

    def __init__(self, time_limit_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadline = None if time_limit_s is None else clock() + time_limit_s
        self._signal: signal.Signals | None = None
        self._asked_at = 0.0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def is_asked(self) -> bool:
        """Whether this process was asked to stop. Others may not have been: agree before acting on it."""
        return self._signal is not None or self._is_late

    @property
    def reason(self) -> str:
        """What asked."""
        if self._signal is not None:
            return f"{self._signal.name} was received"
        return "train.time_limit_s is over" if self._is_late else "another rank was asked to"

    @property
    def _is_late(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._signal is None:
            self._signal, self._asked_at = signal.Signals(number), self._clock()
            if os.environ.get("RANK", "0") == "0":
                # Not print: a handler may run in the middle of one.
                os.write(2, f"\n{self._signal.name}: stopping after this step; again to leave at once.\n".encode())
        elif self._clock() - self._asked_at > SECONDS_OF_ONE_REQUEST:
            sys.stdout.flush()
            os._exit(128 + number)
