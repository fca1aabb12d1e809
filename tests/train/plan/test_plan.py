"""Layouts: what fits, what is recommended, at any size of the world."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from configs.errors import ConfigError
from train.engines.options import DeepSpeedOptions
from train.plan.gpus import find_gpu, find_network
from train.plan.memory import memory_of
from train.plan.plan import MEMORY_USABLE, Question, best, candidates, is_possible, micro_sizes
from train.plan.quantities import Flops, Workload
from train.plan.time import Cluster

SEVEN_B = Workload(
    parameters=7_000_000_000,
    trained=7_000_000_000,
    largest_layer=210_000_000,
    layers=32,
    tokens_per_row=2048,
    flops=Flops(42e9, 786432.0),
    activation_bytes_per_row=9_000_000_000,
    checkpointed_activation_bytes_per_row=900_000_000,
    bytes_per_row_read=16384,
)
SMALL = replace(SEVEN_B, parameters=10**8, trained=10**8, activation_bytes_per_row=10**8, flops=Flops(6e8, 1e4))


def _question(workload: Workload, gpu: str = "a100-80gb", nodes: int = 1, rows: int = 512) -> Question:
    cluster = Cluster(find_gpu(gpu), find_network("hdr200"), 8, nodes)
    return Question(lambda zero: workload, cluster, rows, "bf16", "eager")


def test_every_layout_that_an_engine_takes_is_there_once() -> None:
    layouts = [item.layout for item in candidates(_question(SMALL))]
    keys = {(item.zero, item.offload, item.recompute) for item in layouts}
    assert len(keys) == len(layouts) == 16
    for zero in range(4):
        for offload in ("none", "optimizer", "all"):
            try:
                DeepSpeedOptions(zero=zero, offload=offload)  # type: ignore[arg-type]
            except ValueError:
                assert not is_possible(zero, offload)  # type: ignore[arg-type]
            else:
                assert is_possible(zero, offload)  # type: ignore[arg-type]


def test_the_micro_batch_is_the_largest_that_fits_and_divides() -> None:
    question = _question(SEVEN_B)
    for item in candidates(question):
        usable = MEMORY_USABLE * question.cluster.gpu.memory
        fitting = [
            size
            for size in range(1, 65)
            if 64 % size == 0 and memory_of(SEVEN_B, replace(item.layout, micro_rows=size)).device <= usable
        ]
        assert item.fits == bool(fitting)
        assert item.layout.micro_rows == max(fitting, default=1)


def test_a_small_model_is_left_whole_and_a_large_one_is_sharded() -> None:
    small, large = best(candidates(_question(SMALL))), best(candidates(_question(SEVEN_B)))
    assert small is not None
    assert large is not None
    assert (small.layout.recompute, small.layout.offload) == (False, "none")
    assert small.layout.zero <= 1
    assert large.layout.zero >= 2
    assert large.fits


def test_the_best_is_within_two_percent_of_the_fastest_that_fits() -> None:
    found = candidates(_question(SEVEN_B))
    chosen = best(found)
    assert chosen is not None
    assert chosen.step.seconds <= 1.02 * min(item.step.seconds for item in found if item.fits)


def test_where_nothing_fits_nothing_is_recommended() -> None:
    # A row whose activations are more than the 24 GB of an L4, whatever is recomputed.
    huge = replace(SEVEN_B, activation_bytes_per_row=10**11, checkpointed_activation_bytes_per_row=10**11)
    found = candidates(_question(huge, "l4"))
    assert best(found) is None
    assert {item.layout.micro_rows for item in found} == {1}


def test_sixteen_thousand_ranks_take_no_longer_to_plan() -> None:
    started = time.perf_counter()
    found = candidates(_question(SEVEN_B, nodes=2048, rows=16_384 * 64))
    assert time.perf_counter() - started < 5
    assert found[0].layout.world_size == 16_384
    assert best(found) is not None


def test_micro_sizes_are_the_divisors_of_a_rank_s_share() -> None:
    assert micro_sizes(96, 8) == [1, 2, 3, 4, 6, 12]
    with pytest.raises(ConfigError, match=r"batch.global=100 cannot be divided among 8 GPUs; .*96 or 104"):
        micro_sizes(100, 8)
