"""How far the clock of this node is from that of node 0 (Cristian 1989).

A node asks, node 0 answers with its time, and half of the way there and back is taken off. The quickest of a few
answers counts; the offset is known to half of its round trip.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence

from torch._C._distributed_c10d import Store

from launch.preflight.exchange import Exchange, take
from launch.preflight.report import Result

_NUM_QUESTIONS = 5
_SECONDS_FOR_ONE_NODE = 5.0

# Logs and the ages of files mislead from about a second on; from a minute on, certificates and tickets fail.
_WARN_S = 1.0
_FAIL_S = 60.0


def answer_all(exchange: Exchange, members: Sequence[int]) -> None:
    """On node 0: begin to answer all nodes, one after the other, beside whatever else it does."""
    store = exchange.connection()

    def answer() -> None:
        for rank in members[1:]:
            for number in range(_NUM_QUESTIONS):
                if take(store, f"ask-{number}/{rank}", _SECONDS_FOR_ONE_NODE) is None:
                    break
                store.set(f"time-{number}/{rank}", json.dumps(time.time()))

    threading.Thread(target=answer, daemon=True).start()


def skew(exchange: Exchange, seconds: float, now: Callable[[], float] = time.time) -> Result:
    """Ask node 0 for its time. Node 0 itself has no skew."""
    if exchange.rank == 0:
        return Result()
    store = exchange.connection()
    answers = [
        item for item in (_ask(store, exchange.rank, number, seconds, now) for number in range(_NUM_QUESTIONS)) if item
    ]
    if not answers:
        return Result(warnings=[f"the clock could not be compared with that of node 0 within {seconds:.3g} s"])
    round_trip, offset = min(answers)
    return judged(offset, round_trip / 2)


def judged(offset: float, uncertainty: float) -> Result:
    """What an offset from node 0 means, both in seconds."""
    result = Result(figures={"offset_s": round(offset, 6), "uncertainty_s": round(uncertainty, 6)})
    certain = abs(offset) - uncertainty
    text = f"the clock is {abs(offset):.3g} s {'ahead of' if offset > 0 else 'behind'} that of node 0; set it (NTP)"
    if certain > _FAIL_S:
        result.failures.append(text)
    elif certain > _WARN_S:
        result.warnings.append(text)
    return result


def _ask(store: Store, rank: int, number: int, seconds: float, now: Callable[[], float]) -> tuple[float, float] | None:
    """Round trip and offset of one question."""
    asked_at, began = now(), time.monotonic()
    store.set(f"ask-{number}/{rank}", json.dumps(True))
    theirs = take(store, f"time-{number}/{rank}", seconds)
    round_trip = time.monotonic() - began
    return None if theirs is None else (round_trip, asked_at + round_trip / 2 - theirs)
