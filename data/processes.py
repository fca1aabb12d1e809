"""What processes that work for another one do at their start."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from types import TracebackType

_PR_SET_PDEATHSIG = 1
_SECONDS_TO_END = 5.0


def die_with_parent() -> None:
    """Be killed when the parent process ends, however it ends (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid != os.getppid():  # it ended before the kernel was told
            os._exit(1)


def leave_interrupts_to_parent() -> None:
    """An interrupt reaches the whole process group: the parent decides, and ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave_signals_to_parent() -> None:
    """Schedulers signal every process of a job. The parent finishes what it does first, and needs this one for that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def lose_parent_quietly() -> None:
    """Say nothing of a connection that broke because the parent process was killed.

    A killed process closes its connections before its children can learn that it is gone, so a thread that was handing
    it something meets the end of the connection first, and would print a traceback about that.
    """
    report = sys.excepthook

    def report_unless_parent_ended(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        parent = multiprocessing.parent_process()
        if isinstance(error, (EOFError, ConnectionError)) and parent is not None:
            parent.join(_SECONDS_TO_END)
            if not parent.is_alive():
                return
        report(kind, error, traceback)

    sys.excepthook = report_unless_parent_ended
