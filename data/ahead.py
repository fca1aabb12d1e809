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

    Waking the thread costs the consumer more than the thread's work on small items: both want the
    interpreter lock. So permits to make more are handed out in batches of half the depth, and items
    and permits travel in `SimpleQueue`s, which are C.
    """

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._ready: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        self._permits: SimpleQueue[int] = SimpleQueue()
        self._permits.put(depth)
        self._refill = max(1, depth // 2)
        self._taken = 0
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
        self._taken += 1
        if self._taken == self._refill:
            self._permits.put(self._taken)
            self._taken = 0
        assert item is not None
        return item

    def close(self) -> None:
        """Make nothing more, and wait for the item in hand."""
        self._is_closed = True
        self._permits.put(0)
        self._thread.join(timeout=10)

    def _run(self, items: Iterator[T]) -> None:
        try:
            while permits := self._permits.get():
                for _ in range(permits):
                    if self._is_closed:
                        return
                    self._ready.put((next(items), None))
        except BaseException as error:  # handed to the consumer, who raises it; StopIteration too
            # Its frames hold the iterator and would keep worker processes alive for as long as the error.
            traceback.clear_frames(error.__traceback__)
            self._ready.put((None, error))
