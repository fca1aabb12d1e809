"""Mixtures: exact proportions, epochs of their own, curricula, all pure functions of the position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.errors import ConfigError
from data.batches import BatchPlan
from data.loader import TrainLoader
from data.mixture import Mixture, MixtureOrder, proportions
from data.order import Draws, Order
from data.order_options import OrderOptions
from data.sample import Sample
from data.sources import MixtureOptions
from train.recipe import load_recipe


class Numbers:
    """Samples that say which part and which index they are."""

    def __init__(self, part: int, size: int) -> None:
        self.part, self.size, self.fingerprint = part, size, part * 1000 + size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        assert 0 <= index < self.size
        return {"row": np.array([self.part, index])}


def order(sizes: list[int], stages: list[tuple[int, list[float]]], block: int = 16, seed: int = 3) -> MixtureOrder:
    starts = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
    return MixtureOrder([Order(size, seed + n) for n, size in enumerate(sizes)], starts, stages, seed=seed, block=block)


def drawn(mixture: MixtureOrder, sizes: list[int], positions: range) -> list[tuple[int, int]]:
    starts = np.cumsum([0, *sizes])
    indices = mixture.indices(np.array(positions, dtype=np.int64))
    parts = np.searchsorted(starts, indices, side="right") - 1
    return list(zip(parts.tolist(), (indices - starts[parts]).tolist(), strict=True))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.integers(8, 200))
def test_proportions_fill_the_block_and_are_off_by_less_than_a_row(weights: list[float], block: int) -> None:
    counts = proportions(weights, block)
    assert counts.sum() == block
    assert np.all(np.abs(counts - np.array(weights) / sum(weights) * block) < 1)


def test_every_block_holds_exact_proportions() -> None:
    rows = drawn(order([50, 70], [(0, [1.0, 3.0])]), [50, 70], range(160))
    for block in range(10):
        parts = [part for part, _ in rows[block * 16 : block * 16 + 16]]
        assert (parts.count(0), parts.count(1)) == (4, 12)


def test_places_within_a_block_change_from_block_to_block() -> None:
    rows = drawn(order([50, 70], [(0, [1.0, 1.0])]), [50, 70], range(32))
    parts = [part for part, _ in rows]
    assert parts[:16] != parts[16:]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(3, 30), min_size=1, max_size=4),
    st.lists(st.integers(1, 60), max_size=3, unique=True),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
def test_each_part_goes_through_its_own_epochs_across_stages(
    sizes: list[int], changes: list[int], block: int, random: Any
) -> None:
    stages = [(first, [random.choice([0.0, 1.0, 2.5]) + 0.1 for _ in sizes]) for first in sorted({0, *changes})]
    rows = drawn(order(sizes, stages, block=block), sizes, range(200))
    for part, size in enumerate(sizes):
        found = [index for owner, index in rows if owner == part]
        for epoch in range(len(found) // size):
            assert sorted(found[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_order_is_a_pure_function_of_the_position() -> None:
    sizes, stages = [20, 30, 40], [(0, [1.0, 1.0, 2.0]), (37, [3.0, 0.0, 1.0])]
    whole = drawn(order(sizes, stages), sizes, range(300))
    for start in (0, 1, 36, 37, 150):
        assert drawn(order(sizes, stages), sizes, range(start, 300)) == whole[start:]
    shuffled = np.random.default_rng(0).permutation(300)
    again = order(sizes, stages).indices(shuffled.astype(np.int64))
    assert again.tolist() == order(sizes, stages).indices(np.arange(300))[shuffled].tolist()


def test_stages_change_the_proportions_at_their_step() -> None:
    rows = drawn(order([50, 50], [(0, [1.0, 0.0]), (48, [0.0, 1.0])]), [50, 50], range(96))
    assert {part for part, _ in rows[:48]} == {0}
    assert {part for part, _ in rows[48:]} == {1}


def test_far_positions_cost_no_more() -> None:
    mixture = order([10**9, 10**10], [(0, [1.0, 1.0]), (10**6, [1.0, 2.0])], block=1024)
    assert len(set(mixture.indices(np.arange(10**12, 10**12 + 256)).tolist())) == 256


def mixture_of(parts: list[Numbers], monkeypatch: pytest.MonkeyPatch, **options: Any) -> Mixture:
    monkeypatch.setattr("data.mixture.build_source", lambda source, storage: parts[source.length - 1])
    described = {
        f"part{n}": {"source": {"kind": "token_windows", "shards": "x", "length": n + 1}, "weight": float(n + 1)}
        for n in range(len(parts))
    }
    return Mixture(MixtureOptions.model_validate({"parts": described, **options}))


def test_samples_come_from_the_part_that_the_order_says(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = mixture_of([Numbers(0, 5), Numbers(1, 7)], monkeypatch)
    assert len(mixture) == 12
    assert [mixture[index]["row"].tolist() for index in (0, 4, 5, 11)] == [[0, 0], [0, 4], [1, 0], [1, 6]]


def test_ranks_share_the_same_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for world in (1, 2, 4):
        mixture = mixture_of([Numbers(0, 5), Numbers(1, 700)], monkeypatch, block=8)
        rows: list[list[int]] = []
        digest = 0
        for rank in range(world):
            loader = TrainLoader(
                mixture, seed=1, plan=BatchPlan(8, 2, rank, world), start=5, stop=7, workers=0, prefetch=2
            )
            for step in loader:
                digest += step.digest
                rows += [row for micro in step.micro_batches for row in micro["row"].tolist()]
            loader.close()
        found.append((sorted(rows), digest % 2**64))
    assert found[0] == found[1] == found[2]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 40))
def test_draws_of_each_part_are_what_counting_finds(steps: int, rows: int, block: int) -> None:
    parts = [Numbers(0, 5), Numbers(1, 70)]
    with pytest.MonkeyPatch.context() as patch:
        mixture = mixture_of(parts, patch, block=block, stages=[{"step": 4, "weights": {"part0": 3.0, "part1": 1.0}}])
    owners = [mixture[i]["row"][0] for i in mixture.order(8, rows, OrderOptions()).indices(np.arange(steps * rows))]
    assert mixture.draws(8, rows, steps) == [
        Draws("part0", owners.count(0), 5),
        Draws("part1", owners.count(1), 70),
    ]


def test_the_order_within_parts_follows_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = mixture_of([Numbers(0, 5), Numbers(1, 7)], monkeypatch)
    indices = mixture.order(8, 4, OrderOptions(shuffle="none")).indices(np.arange(64))
    for part, size in ((0, 5), (1, 7)):
        found = [int(mixture[i]["row"][1]) for i in indices if mixture[i]["row"][0] == part]
        assert found == [number % size for number in range(len(found))]


def test_alpha_weighs_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = mixture_of([Numbers(0, 100), Numbers(1, 10_000)], monkeypatch, alpha=0.5)
    rows = [mixture[int(index)]["row"][0] for index in mixture.order(0, 1, OrderOptions()).indices(np.arange(1024))]
    # 100^0.5 x 1 against 10,000^0.5 x 2
    assert rows.count(1) == round(1024 * 200 / 210)


def test_the_fingerprint_follows_parts_and_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    mixtures = [
        mixture_of([Numbers(0, 5), Numbers(1, 7)], monkeypatch),
        mixture_of([Numbers(0, 5), Numbers(1, 8)], monkeypatch),
        mixture_of([Numbers(0, 5), Numbers(1, 7)], monkeypatch, alpha=0.3),
        mixture_of([Numbers(0, 5), Numbers(1, 7)], monkeypatch, block=512),
        mixture_of(
            [Numbers(0, 5), Numbers(1, 7)], monkeypatch, stages=[{"step": 5, "weights": {"part0": 1.0, "part1": 0.0}}]
        ),
    ]
    assert len({mixture.fingerprint for mixture in mixtures}) == len(mixtures)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([{"step": 5, "weights": {"part0": 1.0}}], "the parts are"),
        ([{"step": 5, "weights": {"part0": 0.0, "part1": 0.0}}], "above 0"),
        ([{"step": 5, "weights": {"part0": 1.0, "part1": 1.0}}] * 2, "same step twice"),
    ],
)
def test_wrong_stages_are_refused(stages: list[dict[str, Any]], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match=expected):
        mixture_of([Numbers(0, 5), Numbers(1, 7)], monkeypatch, stages=stages)


def test_a_recipe_names_the_part_that_is_too_long(tmp_path: Path) -> None:
    quickstart = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    part = "{source: {kind: token_windows, shards: x, length: 4096}}"
    train = f"{{kind: mixture, parts: {{code: {part}}}}}"
    (tmp_path / "mixed.yaml").write_text(f"base: {quickstart}\ndata: {{train: {train}}}\n")
    with pytest.raises(ConfigError, match=r"data\.train\.parts\.code\.source\.length=4096"):
        load_recipe(tmp_path / "mixed.yaml")
