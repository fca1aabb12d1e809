"""Transforms of tables: real and synthetic ones have the same fields, so synthetic ones do here."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from configs.options import construct
from data.priors.options import ForestOptions
from data.randomness import stream
from data.sample import Sample, SampleError, Transform
from data.sources import build_source
from data.tables.context import context_order
from data.tables.options import (
    AnyTableTransform,
    ContextSplitOptions,
    DropCellsOptions,
    MaskCellsOptions,
    PermuteClassesOptions,
    PermuteFeaturesOptions,
    QuantileOptions,
    RankGaussOptions,
    StandardizeOptions,
)

TRANSFORMS: list[AnyTableTransform] = [
    ContextSplitOptions(context=0.4),
    PermuteFeaturesOptions(),
    PermuteClassesOptions(),
    DropCellsOptions(share=0.3),
    MaskCellsOptions(share=[0.2, 0.6]),
    StandardizeOptions(),
    QuantileOptions(),
    RankGaussOptions(),
]


def apply(options: AnyTableTransform, sample: Sample, seed: int = 0) -> Sample:
    transform = construct(options)
    assert callable(transform)
    result: Sample = transform(sample, stream(seed, "test"))
    return result


@pytest.fixture
def table() -> Sample:
    """A synthetic table with missing cells and padding, rows split."""
    options = ForestOptions(
        rows=30, min_features=4, max_features=4, base_rows=64, missing=0.4, categorical=0.5, max_classes=4
    )
    sample = build_source(options)[1]
    wider = np.concatenate([sample["features"], np.zeros((30, 2), dtype=np.float32)], axis=1)
    return apply(ContextSplitOptions(), sample | {"features": wider})


@pytest.mark.parametrize("options", TRANSFORMS, ids=lambda options: options.kind)
def test_transforms_leave_their_sample_alone_and_repeat_themselves(options: AnyTableTransform, table: Sample) -> None:
    before = {name: value.copy() for name, value in table.items()}
    one, other = apply(options, table), apply(options, table)
    for name, value in before.items():
        assert np.array_equal(table[name], value, equal_nan=True)
        assert one[name].dtype == value.dtype
        assert one[name].shape == value.shape
    assert all(np.array_equal(one[name], other[name], equal_nan=name != "mask") for name in one)
    assert (one["features"][:, 4:] == 0).all()


@pytest.mark.parametrize("options", TRANSFORMS, ids=lambda options: options.kind)
def test_a_missing_field_is_named(options: AnyTableTransform) -> None:
    with pytest.raises(SampleError, match=f"{options.kind} needs the field"):
        apply(options, {"image": np.zeros(3)})


def multiset(rows: NDArray[np.generic]) -> list[str]:
    return sorted(row.tobytes().hex() for row in np.ascontiguousarray(rows))


@settings(max_examples=100, deadline=None)
@given(label=st.lists(st.integers(0, 6), min_size=2, max_size=40), data=st.data())
def test_every_class_is_known_where_that_is_possible(label: list[int], data: st.DataObject) -> None:
    num_context = data.draw(st.integers(1, len(label) - 1))
    label_R = np.array(label)
    order_R = context_order(stream(data.draw(st.integers(0, 99)), "test"), label_R, num_context)
    assert sorted(order_R.tolist()) == list(range(len(label)))
    known = set(label_R[order_R[:num_context]].tolist())
    assert len(known) == min(len(set(label)), num_context)


def test_rows_are_known_equally_often() -> None:
    label_R = np.array([0] * 6 + [1] * 6)
    counts = np.zeros(12)
    places = np.zeros((12, 6))
    for seed in range(600):
        order_R = context_order(stream(seed, "test"), label_R, 6)
        counts[order_R[:6]] += 1
        places[order_R[:6], np.arange(6)] += 1
    assert counts.min() > 240
    assert counts.max() < 360
    assert places.min() > 20


def test_a_split_keeps_rows_whole(table: Sample) -> None:
    masked = apply(MaskCellsOptions(share=0.5), table)
    split = apply(ContextSplitOptions(context=[0.1, 0.9]), masked, seed=5)
    together = [np.column_stack([s["features"], s["label"], s["mask"]]) for s in (masked, split)]
    assert multiset(together[0]) == multiset(together[1])
    assert not np.array_equal(masked["label"], split["label"])
    counts = {int(apply(ContextSplitOptions(context=[0.1, 0.9]), table, seed)["num_context"]) for seed in range(40)}
    assert min(counts) >= 3
    assert max(counts) <= 27
    assert len(counts) > 10
    for context, expected in ((0.0, 1), (1.0, 29)):
        assert int(apply(ContextSplitOptions(context=context), table)["num_context"]) == expected


def test_permutations_only_rename(table: Sample) -> None:
    masked = apply(MaskCellsOptions(share=0.5), table)
    moved = apply(PermuteFeaturesOptions(), masked)
    both = [np.concatenate([s["features"], s["mask"]]).astype(np.float32) for s in (masked, moved)]
    assert multiset(both[0][:, :4].T) == multiset(both[1][:, :4].T)
    assert not np.array_equal(masked["features"], moved["features"], equal_nan=True)
    classes = int(table["num_classes"])
    pairs = {
        (int(a), int(b)) for a, b in zip(table["label"], apply(PermuteClassesOptions(), table)["label"], strict=True)
    }
    assert len(pairs) == classes
    assert len({b for _, b in pairs}) == classes
    renamed = {apply(PermuteClassesOptions(), table, seed)["label"].tobytes() for seed in range(40)}
    assert len(renamed) > classes


def test_cells_go_missing_or_are_masked_as_often_as_asked() -> None:
    full: Sample = {"features": np.ones((200, 50), dtype=np.float32), "num_features": np.array(40)}
    dropped = np.isnan(apply(DropCellsOptions(share=0.3), full)["features"])
    assert 0.27 < dropped[:, :40].mean() < 0.33
    assert not dropped[:, 40:].any()
    full["features"][:100] = np.nan
    masked = apply(MaskCellsOptions(share=0.3), full)
    assert masked["mask"].dtype == bool
    assert 0.27 < masked["mask"][100:, :40].mean() < 0.33
    assert not masked["mask"][:100].any()
    assert not masked["mask"][:, 40:].any()
    assert np.array_equal(masked["features"], full["features"], equal_nan=True)


SCALINGS: list[AnyTableTransform] = [
    StandardizeOptions(),
    StandardizeOptions(clip=1.0),
    QuantileOptions(),
    RankGaussOptions(),
]


@pytest.mark.parametrize("options", SCALINGS, ids=str)
def test_queries_do_not_change_how_known_rows_and_other_queries_are_scaled(
    options: AnyTableTransform, table: Sample
) -> None:
    num_context = int(table["num_context"])
    changed = table["features"].copy()
    changed[num_context + 1 :, :4] = 1e6
    one, other = apply(options, table), apply(options, table | {"features": changed})
    rows = num_context + 1
    assert np.array_equal(one["features"][:rows], other["features"][:rows], equal_nan=True)
    assert np.array_equal(np.isnan(one["features"]), np.isnan(table["features"]))


def slow_rank(value: float, known: list[float]) -> float:
    below, equal = sum(k < value for k in known), sum(k == value for k in known)
    return (below + equal / 2 + 0.5) / (len(known) + 1)


def slow_standard(value: float, known: list[float]) -> float:
    return float((value - np.mean(known)) / (np.std(known) or 1.0))


@pytest.mark.parametrize(
    ("options", "define"),
    [
        (QuantileOptions(), slow_rank),
        (RankGaussOptions(), lambda value, known: NormalDist().inv_cdf(slow_rank(value, known))),
        (StandardizeOptions(), slow_standard),
        (StandardizeOptions(clip=0.5), lambda value, known: min(max(slow_standard(value, known), -0.5), 0.5)),
    ],
    ids=["quantile", "rank_gauss", "standardize", "clipped"],
)
def test_scaling_is_what_it_says(
    options: AnyTableTransform, define: Callable[[float, list[float]], float], table: Sample
) -> None:
    scaled = apply(options, table)["features"]
    for column in range(4):
        values = table["features"][:, column].astype(float)
        known = [value for value in values[: int(table["num_context"])] if not np.isnan(value)]
        for value, found in zip(values, scaled[:, column], strict=True):
            assert np.isnan(found) if np.isnan(value) else found == pytest.approx(define(value, known), abs=1e-5)


@pytest.mark.parametrize("options", SCALINGS, ids=str)
def test_columns_that_are_constant_or_unknown(options: AnyTableTransform) -> None:
    features_RC = np.array([[0.1, np.nan], [0.1, np.nan], [0.1, 7.0]], dtype=np.float32)
    table: Sample = {"features": features_RC, "num_features": np.array(2), "num_context": np.array(2)}
    found = apply(options, table)["features"]
    assert found[:, 0] == pytest.approx(0.5 if isinstance(options, QuantileOptions) else 0.0, abs=1e-6)
    assert np.isnan(found[:, 1]).all()


def test_a_transform_is_one() -> None:
    split: Transform = construct(ContextSplitOptions())  # type: ignore[assignment]
    with pytest.raises(SampleError, match="cannot be split"):
        split({"features": np.zeros((1, 1)), "label": np.zeros(1)}, stream(0, "test"))
