"""The time of a step: against arithmetic done otherwise, and against published runs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import ConfigError
from tests.train.plan.literature import RUNS, Run
from train.plan.gpus import find_gpu, find_network
from train.plan.quantities import Flops, Layout, Workload
from train.plan.time import CASES, LINK_LATENCY_S, LINK_SHARE, Cluster, Step, ring_seconds, step_time

PAGE = (Path(__file__).parents[3] / "docs" / "planning.md").read_text()
WORKLOAD = Workload(1_000_000_000, 1_000_000_000, 50_000_000, 20, 2048, Flops(6e9, 1e5), 200_000_000, 10_000_000, 16384)


def _cluster(nodes: int = 1, gpus: int = 8) -> Cluster:
    return Cluster(find_gpu("a100-80gb"), find_network("hdr200"), gpus, nodes)


def _layout(nodes: int = 1, zero: int = 1, **changes: object) -> Layout:
    layout = Layout(8 * nodes, 8, zero, "none", False, "bf16", 2)  # type: ignore[arg-type]
    return replace(layout, **changes)  # type: ignore[arg-type]


def _step(nodes: int = 1, zero: int = 1, rows: int = 256, **changes: object) -> Step:
    return step_time(WORKLOAD, _layout(nodes, zero, **changes), _cluster(nodes), rows, "eager")


def test_a_ring_takes_as_long_as_one_that_is_walked_step_by_step() -> None:
    volume, ranks, link = 8e9, 8, find_gpu("a100-80gb").link
    walked = sum(volume / ranks / (LINK_SHARE * link) for _ in range(ranks - 1))
    assert ring_seconds(volume, _cluster()) == pytest.approx(walked, rel=0.01)


def test_a_slow_network_holds_the_ring_up_and_one_gpu_sends_nothing() -> None:
    assert ring_seconds(8e9, _cluster(2)) > ring_seconds(8e9, _cluster())
    assert ring_seconds(8e9, _cluster(gpus=1)) == 0.0


def test_products_take_their_flops_over_what_an_a100_reaches() -> None:
    # 6e9 FLOPs a token, 32 rows a rank; 271.2 TFLOP/s for the best shape, 0.9 of it.
    assert _step().products == pytest.approx(6e9 * 32 * 2048 / (0.9 * 271.2e12), rel=1e-3)


def test_recomputing_adds_a_forward_and_no_model_flops() -> None:
    plain, again = _step(), _step(recompute=True)
    assert again.products / plain.products == pytest.approx(4 / 3)
    # Attention: 3.5 units of its products to 4.5 (its forward is one of three in model FLOPs).
    assert again.attention / plain.attention == pytest.approx(4.5 / 3.5, rel=1e-6)
    assert again.model_flops == plain.model_flops
    assert again.mfu(312e12, 8) < plain.mfu(312e12, 8)


def test_volumes_are_those_of_zero() -> None:
    # In units of one parameter in 16 bit, for one micro-batch; each of 20 layers waits along 7 neighbours.
    unit = 2e9 * 7 / 8 / (LINK_SHARE * 300e9)
    latency = 20 * 7 * LINK_LATENCY_S
    num_collectives = {0: 2, 1: 2, 2: 2, 3: 3}
    volumes = {
        zero: (_step(zero=zero, rows=16).communication - count * latency) / unit
        for zero, count in num_collectives.items()
    }
    assert volumes == pytest.approx({0: 4, 1: 3, 2: 2, 3: 3})


def test_accumulation_repeats_the_collectives_of_stages_2_and_3_only() -> None:
    growth = {
        zero: _step(zero=zero, rows=64).communication / _step(zero=zero, rows=16).communication for zero in range(4)
    }
    assert growth == pytest.approx({0: 1, 1: 1, 2: 2.5, 3: 4}, rel=0.01)


def test_the_range_encloses_the_typical_time() -> None:
    low, typical, high = (step_time(WORKLOAD, _layout(), _cluster(), 256, "eager", case).seconds for case in CASES)
    assert low > typical > high


def test_offloading_takes_longer() -> None:
    assert _step(zero=2, offload="optimizer").seconds > _step(zero=2).seconds


def test_a_device_without_the_precision_is_an_error() -> None:
    cluster = replace(_cluster(), gpu=find_gpu("v100"))
    with pytest.raises(ConfigError, match="precision=bf16: NVIDIA V100"):
        step_time(WORKLOAD, _layout(), cluster, 256, "eager")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_page_tells_of_every_run_what_the_planner_gives(run: Run) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {run.name} |"))
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[-2] == f"{run.ratio:.2f}"
    assert cells[-4].replace(",", "") == f"{run.tokens_per_s:.0f}"


def test_at_least_three_published_runs_are_met_within_15_percent_and_the_page_says_how_many() -> None:
    met = [run.name for run in RUNS if abs(run.ratio - 1) <= 0.15]
    assert len(met) >= 3
    found = re.search(r"(\d+) of (\d+) runs within 15%", PAGE)
    assert found is not None
    assert found.groups() == (str(len(met)), str(len(RUNS)))
