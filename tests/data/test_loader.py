from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data._utils.pin_memory import pin_memory

from configs.errors import DataError
from data.batches import BatchOptions, BatchPlan
from data.loader import StepBatch, TrainLoader, _MicroBatch, collate, evaluation_batches, lost_workers_explained
from data.order import Order
from data.sample import Sample, SampleError
from data.text.options import TokenWindowsOptions
from data.text.windows import TokenWindows


class Numbers:
    """A source whose samples say which they are."""

    def __init__(self, size: int, fingerprint: int = 77) -> None:
        self.size = size
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        return {"index": np.array([index, index], dtype=np.int32)}


class Broken(Numbers):
    """Fails at one sample."""

    def __getitem__(self, index: int) -> Sample:
        if index == 3:
            raise DataError("shard.tar: damaged at sample 3")
        return super().__getitem__(index)


def loader(source: Numbers | TokenWindows, *, world_size: int = 1, rank: int = 0, **changes: int) -> TrainLoader:
    settings = {"seed": 5, "start": 0, "stop": 6, "workers": 0, "prefetch": 2, "rows": 8, "micro": 2} | changes
    plan = BatchPlan.of(BatchOptions(global_=settings.pop("rows"), micro=settings.pop("micro")), rank, world_size)
    return TrainLoader(source, plan=plan, **settings)


def steps(source: Numbers | TokenWindows, **changes: int) -> list[StepBatch]:
    loading = loader(source, **changes)
    found = list(loading)
    loading.close()
    return found


def rows_of(batch: StepBatch) -> list[int]:
    return [int(row[0]) for micro in batch.micro_batches for row in micro["index"]]


def expected_rows(size: int, seed: int, step: int, rows: int) -> list[int]:
    return sorted(Order(size, seed).indices(np.arange(step * rows, (step + 1) * rows)).tolist())


@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (2, 0), (4, 0), (1, 2), (2, 2)])
def test_ranks_together_load_each_step_whatever_their_number_and_workers(world_size: int, workers: int) -> None:
    # 13 samples and 8 rows a step: epochs end inside a step.
    single = steps(Numbers(13))
    ranks = [steps(Numbers(13), world_size=world_size, rank=rank, workers=workers) for rank in range(world_size)]
    assert [len(rank) for rank in ranks] == [6] * world_size
    for step, shares in enumerate(zip(*ranks, strict=True)):
        assert sorted(row for share in shares for row in rows_of(share)) == expected_rows(13, 5, step, 8)
        assert sum(share.digest for share in shares) % 2**64 == single[step].digest


def test_accumulation_changes_neither_rows_nor_digest() -> None:
    at_once, in_eights = steps(Numbers(13), micro=8), steps(Numbers(13), micro=1)
    assert [len(step.micro_batches) for step in at_once + in_eights] == [1] * 6 + [8] * 6
    assert [rows_of(step) for step in at_once] == [rows_of(step) for step in in_eights]
    assert [step.digest for step in at_once] == [step.digest for step in in_eights]


@pytest.mark.parametrize("workers", [0, 2])
def test_starting_at_a_step_gives_the_tail(workers: int) -> None:
    whole, tail = steps(Numbers(13)), steps(Numbers(13), start=4, workers=workers)
    assert [rows_of(step) for step in tail] == [rows_of(step) for step in whole[4:]]
    assert [step.digest for step in tail] == [step.digest for step in whole[4:]]


def test_nothing_is_left_to_load_at_the_last_step() -> None:
    assert steps(Numbers(13), start=6) == []


def test_digests_tell_data_seeds_and_steps_apart() -> None:
    runs = [
        steps(Numbers(13)),
        steps(Numbers(13), seed=6),
        steps(Numbers(13, fingerprint=78)),
    ]
    digests = [step.digest for run in runs for step in run]
    assert len(set(digests)) == len(digests)
    assert all(0 <= digest < 2**64 for digest in digests)


def test_rows_are_those_of_the_source(packed: Path) -> None:
    source = TokenWindows(TokenWindowsOptions(shards=str(packed / "train-*.tar"), length=32))
    (step,) = steps(source, stop=1)
    indices = Order(len(source), 5).indices(np.arange(8))
    rows = [row for micro in step.micro_batches for row in micro["tokens"]]
    assert all(np.array_equal(row, source[int(i)]["tokens"]) for row, i in zip(rows, indices, strict=True))


def test_a_source_that_was_read_here_can_be_read_by_workers(packed: Path) -> None:
    # The shards are open when the workers are forked: reads must not share a file position.
    source = TokenWindows(TokenWindowsOptions(shards=str(packed / "train-*.tar"), length=32))
    source[0]
    forked, here = steps(source, workers=2), steps(source)
    for one, other in zip(forked, here, strict=True):
        assert one.digest == other.digest
        for a, b in zip(one.micro_batches, other.micro_batches, strict=True):
            assert torch.equal(a["tokens"], b["tokens"])


def loading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 1, 6])
def test_close_leaves_no_thread_and_no_process_running(workers: int, taken: int) -> None:
    loading = loader(Numbers(13), workers=workers)
    for _ in range(taken):
        next(loading)
    loading.close()
    assert loading_threads() == []
    assert multiprocessing.active_children() == []
    assert list(loading) == []


def test_closing_twice_does_no_harm() -> None:
    loading = loader(Numbers(13))
    loading.close()
    loading.close()
    assert loading_threads() == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_source_reaches_the_consumer_as_what_it_is(workers: int) -> None:
    loading = loader(Broken(13), workers=workers)
    with pytest.raises(DataError, match="damaged at sample 3"):
        list(loading)
    loading.close()
    assert loading_threads() == []
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_an_error_and_not_a_hang() -> None:
    loading = loader(Numbers(13), workers=2, stop=10**9)
    next(loading)

    def kill_one_and_go_on() -> None:
        with lost_workers_explained():
            multiprocessing.active_children()[0].kill()
            for _ in loading:
                pass

    with pytest.raises(DataError, match=r"a loader process was lost: .* It has most often run out of memory"):
        kill_one_and_go_on()
    loading.close()
    assert multiprocessing.active_children() == []


class Damaged(Numbers):
    """Some samples cannot be read."""

    def __init__(self, size: int, damaged: set[int]) -> None:
        super().__init__(size)
        self.damaged = damaged

    def __getitem__(self, index: int) -> Sample:
        if index in self.damaged:
            raise SampleError(f"shard.tar, sample '{index}': damaged")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_samples_are_replaced_at_their_place_and_reported(workers: int) -> None:
    whole = steps(Numbers(13), workers=workers)
    found = steps(Damaged(13, {3, 12}), workers=workers, bad_samples=100)
    reported = []
    for step, expected in zip(found, whole, strict=True):
        assert rows_of(step) == [{3: 4, 12: 0}.get(row, row) for row in rows_of(expected)]
        assert step.digest == expected.digest
        reported += [(bad.position // 8, bad.sample, bad.replaced_by) for bad in step.bad]
        assert [bad.sample for bad in step.bad] == [row for row in rows_of(expected) if row in (3, 12)]
    assert len(reported) == sum(rows_of(step).count(3) + rows_of(step).count(12) for step in whole) > 2


def test_too_many_damaged_samples_end_the_run_and_are_named() -> None:
    loading = loader(Damaged(13, {3}), bad_samples=2, stop=100)
    with pytest.raises(DataError, match=r"too many damaged samples \(data\.bad_samples\).*\n  shard\.tar, sample '3'"):
        list(loading)
    loading.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_in_a_worker_shows_no_traceback_of_the_worker(workers: int) -> None:
    loading = loader(Damaged(13, set(range(13))), workers=workers, bad_samples=10**6)
    with pytest.raises(SampleError) as caught:
        list(loading)
    loading.close()
    assert "Traceback" not in str(caught.value)


class Counted(Numbers):
    """Counts what is read, over all processes."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.read = multiprocessing.Value("q", 0)

    def __getitem__(self, index: int) -> Sample:
        with self.read.get_lock():
            self.read.value += 1
        return super().__getitem__(index)


@pytest.mark.parametrize(("workers", "micro"), [(1, 8), (1, 2), (2, 8), (2, 2)])
def test_workers_together_run_ahead_by_the_prefetch(workers: int, micro: int) -> None:
    source = Counted(10_000)
    loading = loader(source, stop=1000, prefetch=6, workers=workers, micro=micro)
    next(loading)
    at_least, seen = 6 * 8, 0
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (source.read.value < at_least or source.read.value != seen):
        seen = source.read.value
        time.sleep(0.2)
    loading.close()
    # One step was taken, two are unpacked and waiting, and each worker may have one micro-batch in hand.
    assert at_least <= source.read.value <= (6 + 1 + 2 + 1) * 8 + workers * micro


def _shared_memory() -> list[str]:
    """What torch holds; other programs may use shared memory too."""
    return sorted(name for name in os.listdir("/dev/shm") if name.startswith("torch_"))


def test_shared_memory_is_given_back() -> None:
    before = _shared_memory()
    for taken in (0, 3, 6):
        loading = loader(Numbers(13), workers=2)
        kept = [next(loading) for _ in range(taken)]
        loading.close()
        del kept, loading
    gc.collect()
    assert _shared_memory() == before


def test_samples_that_do_not_stack_are_explained() -> None:
    ragged = [{"x": np.zeros(3)}, {"x": np.zeros(4)}]
    with pytest.raises(DataError, match=r"field 'x' has the shapes \(3,\), \(4,\) in one batch: bring it to one shape"):
        collate(ragged)
    with pytest.raises(DataError, match="samples of one batch have different fields: x or y"):
        collate([{"x": np.zeros(3)}, {"y": np.zeros(3)}])
    with pytest.raises(DataError, match="field 'text' holds <U5, expected numbers"):
        collate([{"text": np.array("hello")}])
    for one, other in ((np.array(3), np.array("x")), (np.array(3), np.array(3.5))):
        with pytest.raises(DataError, match="expected numbers of one kind"):
            collate([{"x": one}, {"x": other}])
    more, less = {"x": np.zeros(1), "y": np.zeros(1)}, {"x": np.zeros(1)}
    for samples in ([less, more], [more, less]):
        with pytest.raises(DataError, match="different fields: x or x, y"):
            collate(samples)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_defect_in_the_source_is_not_taken_for_a_lost_worker(workers: int) -> None:
    class Defective(Numbers):
        def __getitem__(self, index: int) -> Sample:
            raise RuntimeError("a defect of mine")

    def load() -> None:
        with lost_workers_explained():
            list(loading)

    loading = loader(Defective(13), workers=workers)
    with pytest.raises(RuntimeError, match="a defect of mine"):
        load()
    loading.close()


def test_damaged_held_out_samples_are_replaced_and_named() -> None:
    batches = list(evaluation_batches(Damaged(10, {4}), rows=None, micro_rows=5, rank=0, world_size=1))
    assert [row for batch, _, _ in batches for row in batch["index"][:, 0].tolist()] == [0, 1, 2, 3, 5, 5, 6, 7, 8, 9]
    assert [bad.sample for _, _, found in batches for bad in found] == [4]


def test_a_micro_batch_can_be_pinned() -> None:
    # What torch's pinning thread asks of an object that it does not know.
    batch = _MicroBatch({"x": torch.zeros(2)}, 5)
    assert callable(batch.pin_memory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
        pinned = pin_memory(batch)
    assert isinstance(pinned, _MicroBatch)
    assert pinned.batch["x"].tolist() == [1.0, 1.0]
    assert pinned.digest == 5


def test_steps_before_an_error_are_delivered() -> None:
    order = Order(13, 5).indices(np.arange(13)).tolist()
    failing_step = order.index(3) // 2
    loading = loader(Broken(13), rows=2, micro=2)
    for _ in range(failing_step):
        next(loading)
    with pytest.raises(DataError):
        next(loading)
    loading.close()


def test_loading_runs_ahead_by_the_prefetch_and_no_further() -> None:
    read = 0

    class Counting(Numbers):
        def __getitem__(self, index: int) -> Sample:
            nonlocal read
            read += 1
            return super().__getitem__(index)

    loading = loader(Counting(1000), stop=100, prefetch=3)
    deadline = time.monotonic() + 10
    while read < 3 * 8 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    loading.close()
    assert read == 3 * 8


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generator_is_left_alone(workers: int) -> None:
    # Nothing may draw from it, or weights and dropout would depend on how often a loader was made.
    before = torch.get_rng_state()
    steps(Numbers(13), workers=workers, stop=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_collate_widens_integers_and_keeps_the_rest() -> None:
    sample = {
        "image": np.zeros((2, 2, 3), dtype=np.uint8),
        "tokens": np.array([1, 2], dtype=np.uint16),
        "pixels": np.zeros((2, 3), dtype=np.float32),
        "is_real": np.array([True, False]),
    }
    batch = collate([sample, sample, sample])
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in batch.items()} == {
        "image": (torch.uint8, (3, 2, 2, 3)),
        "tokens": (torch.int64, (3, 2)),
        "pixels": (torch.float32, (3, 2, 3)),
        "is_real": (torch.bool, (3, 2)),
    }
    assert batch["tokens"].tolist() == [[1, 2]] * 3


@settings(deadline=None)
@given(
    size=st.integers(1, 60),
    rows=st.none() | st.integers(1, 80),
    micro_rows=st.integers(1, 7),
    world_size=st.integers(1, 6),
)
def test_evaluation_sees_each_row_once_in_equally_many_batches(
    size: int, rows: int | None, micro_rows: int, world_size: int
) -> None:
    ranks = [
        list(evaluation_batches(Numbers(size), rows=rows, micro_rows=micro_rows, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    batches = [(batch["index"][:, 0].tolist(), is_mine) for rank in ranks for batch, is_mine, _ in rank]
    assert len({len(rank) for rank in ranks}) == 1
    total = min(rows or size, size)
    expected = [number * size // total for number in range(total)]
    assert sorted(row for found, is_mine in batches if is_mine for row in found) == expected
    assert all(1 <= len(found) <= micro_rows for found, _ in batches)
    assert all(len(found) == 1 for found, is_mine in batches if not is_mine)
