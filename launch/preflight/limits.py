"""Time limits: nothing here may wait for a broken node, or a dead disk, for ever."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Outcome = TypeVar("Outcome")


class Limit:
    """The time that all of it may take, from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.monotonic()

    def left(self, share: float = 1.0) -> float:
        """Seconds until this share of the time has passed; 0 when it has."""
        return max(0.0, self._start + share * self.seconds - time.monotonic())

    def enforce(self, grace_s: float, code: int) -> None:
        """End the process with `code` if it is still here `grace_s` after the limit: the last resort."""

        def end() -> None:
            time.sleep(self.left() + grace_s)
            print(
                f"polytrain preflight: not done after {self.seconds + grace_s:g} s, given up",
                file=sys.stderr,
                flush=True,
            )
            os._exit(code)

        threading.Thread(target=end, daemon=True).start()


def limited(action: Callable[[], Outcome], seconds: float) -> Outcome:
    """What `action` returns or raises, if it does so in time.

    It runs in a thread of its own, which is left behind when it does not end: a read of a dead network disk
    cannot be interrupted.

    Raises:
        TimeoutError: when it does not.
    """
    outcomes: list[Outcome] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            outcomes.append(action())
        except Exception as error:  # raised again below, by whoever waits
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not outcomes:
        raise TimeoutError(f"no answer within {seconds:.3g} s")
    return outcomes[0]
