"""Run an iterator in a thread, a bounded number of items ahead of its consumer."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Ahead(Iterator[T]):
    """The items of an iterator, at most `depth` of them made before they are asked for.

    Two `SimpleQueue`s (which are C) carry items one way and permits the other: a `queue.Queue` with
    its Python locks costs the consumer several times as much.
    """

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._ready: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        self._permits: SimpleQueue[bool] = SimpleQueue()
        for _ in range(depth):
            self._permits.put(True)
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, args=(items,), name="ahead", daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        if self._is_closed:
            raise StopIteration
        item, error = self._ready.get()
        if error is not None:
            self._is_closed = True
            raise error
        self._permits.put(True)
        assert item is not None
        return item

    def close(self) -> None:
        """Make nothing more, and wait for the item in hand."""
        self._is_closed = True
        self._permits.put(False)
        self._thread.join(timeout=10)

    def _run(self, items: Iterator[T]) -> None:
        try:
            while self._permits.get() and not self._is_closed:
                self._ready.put((next(items), None))
        except BaseException as error:  # handed to the consumer, who raises it; StopIteration too
            # Its frames hold the iterator and would keep worker processes alive for as long as the error.
            traceback.clear_frames(error.__traceback__)
            self._ready.put((None, error))
