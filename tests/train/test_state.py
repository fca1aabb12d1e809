from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from train.state import WEIGHT, Fragment, InitialWeights, fill


class Counting:
    """A source whose every element says where it comes from."""

    step = 3

    def read(self, field: str, name: str, start: int, numel: int) -> Tensor:
        offset = {WEIGHT: 0, "exp_avg": 1000, "exp_avg_sq": 2000}[field] + {"a": 0, "b": 100}[name]
        return torch.arange(start, start + numel, dtype=torch.float32) + offset


def fragment(name: str, start: int, numel: int) -> Fragment:
    return Fragment(name, start, torch.empty(numel), {"exp_avg": torch.empty(numel), "exp_avg_sq": torch.empty(numel)})


def test_a_fragment_lists_its_weight_and_moments() -> None:
    item = fragment("a", 0, 2)
    assert list(item.fields) == [WEIGHT, "exp_avg", "exp_avg_sq"]
    assert item.fields[WEIGHT] is item.weight
    assert item.is_written


def test_fill_asks_for_the_range_of_every_field_of_every_fragment() -> None:
    fragments = [fragment("a", 4, 3), fragment("b", 0, 2)]
    fill(fragments, Counting())
    assert fragments[0].weight.tolist() == [4, 5, 6]
    assert fragments[0].moments["exp_avg"].tolist() == [1004, 1005, 1006]
    assert fragments[1].weight.tolist() == [100, 101]
    assert fragments[1].moments["exp_avg_sq"].tolist() == [2100, 2101]


def test_fill_writes_through_views_of_live_parameters() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2, 3))
    view = parameter.data.view(-1)
    fill([Fragment("a", 0, view, {})], Counting())
    assert parameter.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_initial_state_is_the_initial_value_and_zero_moments() -> None:
    calls = []

    def initial_value(name: str, shape: Sequence[int], seed: int) -> Tensor:
        calls.append((name, tuple(shape), seed))
        return torch.arange(6, dtype=torch.float32).reshape(*shape) + len(name)

    source = InitialWeights(initial_value, {"a": (2, 3), "bb": (6,)}, seed=5)
    assert source.step == 0
    assert source.read(WEIGHT, "a", 0, 2).tolist() == [1, 2]
    assert source.read(WEIGHT, "a", 2, 4).tolist() == [3, 4, 5, 6]
    assert source.read(WEIGHT, "bb", 4, 2).tolist() == [6, 7]
    assert source.read("exp_avg", "a", 0, 3).tolist() == [0, 0, 0]
    # A tensor read in pieces is computed once.
    assert calls == [("a", (2, 3), 5), ("bb", (6,), 5)]
