"""Encodes items in worker processes, in order and a bounded number ahead."""

from __future__ import annotations

import io
import itertools
import json
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.errors import DataError
from data.packing.record import Item, Member, Packer, Record
from data.processes import die_with_parent, leave_interrupts_to_parent
from data.sample import SampleError

_CHUNK = 16
# A pool takes a second to start: small corpora are done by then.
_BEFORE_THE_POOL = 64

Job = tuple[str, Item[Any]]


@dataclass(frozen=True)
class Encoded:
    """The bytes of a sample, by extension."""

    members: dict[str, bytes]
    length: int


@dataclass(frozen=True)
class Failed:
    """An item that is damaged."""

    error: str


Result = Encoded | Failed


def encode_in_order(packer: Packer[Any], jobs: Iterator[Job], workers: int) -> Iterator[tuple[str, Item[Any], Result]]:
    """(split, item, result) for every job, in the order given."""
    for split, item in itertools.islice(jobs, _BEFORE_THE_POOL if workers > 1 else None):
        yield split, item, _encode(packer, item)
    if workers > 1:
        yield from _encode_in_pool(packer, jobs, workers)


def member_bytes(extension: str, member: Member) -> bytes:
    """A member as the bytes of its file.

    Raises:
        ValueError: when an array holds Python objects.
    """
    if isinstance(member, bytes):
        return member
    if isinstance(member, np.ndarray):
        stream = io.BytesIO()
        np.lib.format.write_array(stream, member, version=(1, 0), allow_pickle=False)
        return stream.getvalue()
    if isinstance(member, str | int) and not extension.endswith("json"):
        return str(member).encode()
    return json.dumps(member, ensure_ascii=False).encode()


def _encode(packer: Packer[Any], item: Item[Any]) -> Result:
    try:
        record: Record = packer.encode(item)
    except SampleError as error:
        return Failed(str(error))
    members = {extension: member_bytes(extension, member) for extension, member in record.members.items()}
    return Encoded(members, record.length)


def _encode_in_pool(packer: Packer[Any], jobs: Iterator[Job], workers: int) -> Iterator[tuple[str, Item[Any], Result]]:
    pending: deque[tuple[list[Job], Future[list[Result]]]] = deque()
    # Spawned: a fork would copy the threads of tokenizers and decoders in an unknown state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (packer,)) as pool:
        try:
            while True:
                chunk = list(itertools.islice(jobs, _CHUNK))
                if chunk:
                    pending.append((chunk, pool.submit(_encode_chunk, [item for _, item in chunk])))
                if not pending:
                    return
                if len(pending) > 2 * workers or not chunk:
                    done, results = pending.popleft()
                    for (split, item), result in zip(done, results.result(), strict=True):
                        yield split, item, result
        except BrokenProcessPool as error:
            raise DataError(
                f"a packing process was lost: {error} It has most often run out of memory: lower --workers. "
                "The same command goes on behind the shards already written."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


_packer: Packer[Any]


def _start_worker(packer: Packer[Any]) -> None:
    """Runs once in each worker process, which belongs to one packer for all its life."""
    global _packer
    _packer = packer
    die_with_parent()
    leave_interrupts_to_parent()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _encode_chunk(items: Sequence[Item[Any]]) -> list[Result]:
    return [_encode(_packer, item) for item in items]
