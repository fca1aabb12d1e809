"""What nodes tell each other: JSON values by topic and node, in a store that node 0 keeps.

The store is our own (`torch.distributed.TCPStore`), not the rendezvous of a launcher, which waits for all nodes and
cannot say which one is missing. Whoever connects may write and read at once; every wait has a limit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore, PrefixStore, Store, TCPStore

from configs.errors import UserError
from launch.preflight.limits import Limit, limited
from launch.preflight.place import Place

_LOST = "the connection to node 0 is lost: it ended, or the network between them broke."


class NotReached(UserError):
    """Node 0 does not answer, or no longer."""

    is_everywhere = False


class Exchange:
    """This node's end."""

    def __init__(self, place: Place, limit: Limit) -> None:
        """Connect to node 0; on node 0, begin to answer.

        Raises:
            NotReached: when it is not there by half of the limit.
        """
        self.rank = place.rank
        self.count = place.count
        self._place = place
        self._limit = limit
        self._server: Store | None = None
        if place.count == 1:
            self._store: Store = HashStore()
            return
        if place.rank == 0 and place.local_rank == 0 and not place.has_store:
            self._server = self._serve()
        self._store = self.connection(limit.left(0.5))

    def put(self, topic: str, value: object) -> None:
        """Tell all nodes something.

        Raises:
            NotReached: when node 0 is lost.
        """
        try:
            self._store.set(f"{topic}/{self.rank}", json.dumps(value))
        except dist.DistNetworkError:
            raise NotReached(_LOST) from None

    def take(self, topic: str, rank: int, seconds: float) -> Any:
        """What node `rank` tells; None when it does not within this time.

        Raises:
            NotReached: when node 0 is lost.
        """
        return take(self._store, f"{topic}/{rank}", seconds)

    def take_all(self, topic: str, ranks: Iterable[int], seconds: float) -> dict[int, Any]:
        """What each of these nodes tells, of those that do within this time."""
        end = time.monotonic() + seconds
        found = {rank: self.take(topic, rank, end - time.monotonic()) for rank in ranks}
        return {rank: value for rank, value in found.items() if value is not None}

    def connection(self, seconds: float = 10.0) -> Store:
        """Another connection to the same store, for what may block: one connection answers one question at a time.

        Raises:
            NotReached: when there is no answer within this time.
        """
        if self.count == 1:
            return self._store
        host = "127.0.0.1" if self._server is not None else self._place.host
        try:
            # Looking up a name has no limit of its own.
            return limited(lambda: self._connect(host, seconds), seconds + 5.0)
        except (dist.DistError, TimeoutError):
            raise NotReached(
                f"{self._place.name(self.rank)} cannot reach node 0 at {self._place.host}:{self._place.port} "
                f"(within {seconds:.3g} s): that was not started, is down, or the network between them is."
            ) from None

    def _connect(self, host: str, seconds: float) -> Store:
        store = TCPStore(
            host,
            self._place.port,
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=max(1.0, seconds)),
        )
        return PrefixStore("polytrain-preflight", store)

    def _serve(self) -> Store:
        try:
            return TCPStore(
                "127.0.0.1",
                self._place.port,
                is_master=True,
                wait_for_workers=False,
                timeout=timedelta(seconds=max(1.0, self._limit.left())),
            )
        except dist.DistError:
            raise NotReached(
                f"port {self._place.port} of this node is taken by another process. Choose another one "
                "(--master HOST:PORT, or MASTER_PORT)."
            ) from None


def take(store: Store, key: str, seconds: float) -> Any:
    """The JSON value under `key`; None when nobody writes it within this time.

    Raises:
        NotReached: when the store is lost.
    """
    try:
        if seconds > 0 or not store.check([key]):
            store.wait([key], timedelta(seconds=max(0.001, seconds)))
        return json.loads(store.get(key))
    except dist.DistStoreError:
        return None
    except dist.DistNetworkError:
        raise NotReached(_LOST) from None
