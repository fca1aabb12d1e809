"""The kit of nodes that are threads of one process: each has its own end of a real store."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from launch.preflight.exchange import Exchange
from launch.preflight.limits import Limit
from launch.preflight.place import Place

Outcome = TypeVar("Outcome")


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def on_nodes(count: int, action: Callable[[Exchange], Outcome], absent: frozenset[int] = frozenset()) -> list[Outcome]:
    """What `action` returns on each node that is not absent, all at the same time."""
    port = free_port()
    # The store ends with the exchange of node 0.
    kept: list[Exchange] = []
    connected = threading.Barrier(count - len(absent))

    def run(rank: int) -> Outcome:
        exchange = Exchange(Place(rank, count, "localhost", port), Limit(20.0))
        kept.append(exchange)
        connected.wait(30.0)
        return action(exchange)

    present = [rank for rank in range(count) if rank not in absent]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, present))
