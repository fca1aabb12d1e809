"""`python -m launch.agent ARGUMENTS OF TORCHRUN`: torchrun that leaves as the training left.

    python -m launch.agent --standalone --nproc-per-node 2 -m train configs/quickstart.yaml

torchrun ends with exit code 1 whatever its ranks ended with, kills them 30 seconds after it was asked to stop, and
dies of SIGUSR1. Here the exit code is that of the training (75: saved, try again), and SIGTERM, SIGINT and SIGUSR1
are passed on to the ranks, which finish the step, save and leave. Whoever asks twice gets out soon.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args
from torch.distributed.run import run as run_torchrun

from train.interruption import EXIT_TRY_AGAIN, SECONDS_OF_ONE_REQUEST, SIGNALS

# What a scheduler understands as "start this again" instead of 75. Kubeflow: 128 and more.
_TRY_AGAIN_VARIABLE = "POLYTRAIN_EXIT_TRY_AGAIN"

# How long ranks that were asked twice may take: they may wait for others inside a collective.
_SECONDS_TO_LEAVE = 10.0

# How long this agent outlives ranks that have left: the store through which other agents look after theirs may be here.
_SECONDS_FOR_OTHER_AGENTS = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run torchrun to its end; returns the exit code of the training."""
    arguments = parse_args(argv)  # type: ignore[no-untyped-call]
    arguments.signals_to_handle = "SIGHUP,SIGQUIT"  # the others are ours
    _pass_signals_on()
    try:
        run_torchrun(arguments)  # type: ignore[no-untyped-call]
    except ChildFailedError as failure:
        signal.set_wakeup_fd(-1)  # nobody is left who could be asked again
        codes = [item.exitcode for item in failure.failures.values()]
        # Ranks leave with 75 once all of them have saved: what happens to the others after that is no matter.
        code = EXIT_TRY_AGAIN if EXIT_TRY_AGAIN in codes else failure.get_first_failure()[1].exitcode
        if code < 0:
            print(f"launch.agent: {failure}", file=sys.stderr, flush=True)
        is_alone = arguments.nnodes.rpartition(":")[2] == "1"
        if code == EXIT_TRY_AGAIN and not is_alone:
            time.sleep(_SECONDS_FOR_OTHER_AGENTS)
        return _for_scheduler(code)
    return 0


def _for_scheduler(code: int) -> int:
    if code == EXIT_TRY_AGAIN:
        return int(os.environ.get(_TRY_AGAIN_VARIABLE, EXIT_TRY_AGAIN))
    return 128 - code if code < 0 else code


def _pass_signals_on() -> None:
    """Send the signals that ask for an end to the ranks.

    A thread does it, told by the interpreter's own handler: Python's handlers wait for the main thread, which may stand
    in a rendezvous for minutes.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    threading.Thread(target=_listen, args=(reader,), daemon=True).start()


def _listen(reader: int) -> None:
    asked_at: float | None = None
    while True:
        (number,) = os.read(reader, 1)
        if number not in SIGNALS:
            continue
        ranks = psutil.Process().children()
        for rank in ranks:
            with suppress(psutil.NoSuchProcess):
                rank.send_signal(number)
        now = time.monotonic()
        if not ranks:
            os._exit(128 + number)
        if asked_at is not None and now - asked_at > SECONDS_OF_ONE_REQUEST:
            time.sleep(_SECONDS_TO_LEAVE)
            os._exit(128 + number)  # ranks die with it
        asked_at = asked_at or now


if __name__ == "__main__":
    sys.exit(main())
