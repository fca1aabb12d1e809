"""Transforms of time series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.options import Part, construct
from data.loader import collate
from data.randomness import stream
from data.sample import Sample, SampleError
from data.tables.options import CropSeriesOptions, ForecastSplitOptions, StandardizeSeriesOptions


def apply(options: Part, sample: Sample, seed: int = 0) -> Sample:
    transform = construct(options)
    assert callable(transform)
    before = {name: value.copy() for name, value in sample.items()}
    result: Sample = transform(sample, stream(seed, "test"))
    assert all(np.array_equal(sample[name], value, equal_nan=value.dtype.kind == "f") for name, value in before.items())
    return result


def series(steps: int, channels: int = 2) -> Sample:
    ramp = np.arange(steps, dtype=np.float32)[:, None] + 1000 * np.arange(channels, dtype=np.float32)
    return {"series": ramp + 1, "label": np.array(3)}


@given(steps=st.integers(1, 20), length=st.integers(1, 20), seed=st.integers(0, 99))
def test_crops_are_stretches_of_fixed_length(steps: int, length: int, seed: int) -> None:
    found = apply(CropSeriesOptions(length=length), series(steps), seed)
    real = min(steps, length)
    assert int(found["length"]) == real
    assert found["series"].shape == (length, 2)
    start = int(found["series"][0, 0]) - 1
    assert 0 <= start <= steps - real
    assert np.array_equal(found["series"][:real], series(steps)["series"][start : start + real])
    assert (found["series"][real:] == 0).all()
    assert int(found["label"]) == 3


def test_every_start_of_a_crop_occurs() -> None:
    starts = {float(apply(CropSeriesOptions(length=4), series(8), seed)["series"][0, 0]) for seed in range(60)}
    assert starts == {1, 2, 3, 4, 5}


def test_crops_of_any_length_make_a_batch() -> None:
    batch = collate([apply(CropSeriesOptions(length=5), series(steps)) for steps in (2, 5, 9)])
    assert batch["series"].shape == (3, 5, 2)
    assert batch["length"].tolist() == [2, 5, 5]


def test_channels_are_scaled_without_padding_and_gaps() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((30, 3)) * [1, 50, 0] + [5, -3, 0.1]
    values[3:8, 0] = np.nan
    padded = np.concatenate([values, np.zeros((10, 3))]).astype(np.float32)
    found = apply(StandardizeSeriesOptions(), {"series": padded, "length": np.array(30)})
    assert np.nanmean(found["series"][:30], axis=0) == pytest.approx([0, 0, 0], abs=1e-5)
    assert np.nanstd(found["series"][:30].astype(float), axis=0) == pytest.approx([1, 1, 0], abs=1e-5)
    assert (found["series"][30:] == 0).all()
    assert np.isnan(found["series"]).sum() == 5
    restored = found["series"][:30] * found["series_std"] + found["series_mean"]
    assert np.nanmax(np.abs(restored - padded[:30])) < 1e-3


def test_a_channel_without_values_stays_missing() -> None:
    found = apply(StandardizeSeriesOptions(), {"series": np.full((4, 1), np.nan, dtype=np.float32)})
    assert np.isnan(found["series"]).all()
    assert found["series_std"].tolist() == [1]


@given(steps=st.integers(5, 20), seed=st.integers(0, 99))
def test_the_horizon_follows_the_context(steps: int, seed: int) -> None:
    found = apply(ForecastSplitOptions(context=3, horizon=2), series(steps), seed)
    assert set(found) == {"context", "horizon", "label"}
    both = np.concatenate([found["context"], found["horizon"]])
    start = int(both[0, 0]) - 1
    assert np.array_equal(both, series(steps)["series"][start : start + 5])


def test_padding_is_not_forecast_and_short_series_are_named() -> None:
    padded = apply(CropSeriesOptions(length=9), series(5))
    found = apply(ForecastSplitOptions(context=3, horizon=2), padded)
    assert found["horizon"][:, 0].tolist() == [4, 5]
    with pytest.raises(SampleError, match="a series of 5 steps has no 3 known ones and 3 to forecast"):
        apply(ForecastSplitOptions(context=3, horizon=3), padded)


def test_the_future_does_not_leak_into_the_scale() -> None:
    split = apply(ForecastSplitOptions(context=6, horizon=2), series(8))
    options = StandardizeSeriesOptions(field="context", also=["horizon"])
    one = apply(options, split)
    other = apply(options, split | {"horizon": split["horizon"] * 100})
    assert np.array_equal(one["context"], other["context"])
    joined = np.concatenate([one["context"], one["horizon"]])[:, 0]
    assert np.diff(joined) == pytest.approx(np.full(7, joined[1] - joined[0]), abs=1e-5)


@pytest.mark.parametrize("value", [np.zeros(5), np.zeros((0, 2)), np.array([["a"]])])
def test_what_is_no_series_is_named(value: np.ndarray) -> None:
    with pytest.raises(SampleError, match=r"crop_series: the field 'series' is .*expected numbers \[T, C\]"):
        apply(CropSeriesOptions(length=2), {"series": value})
    with pytest.raises(SampleError, match="crop_series needs the field 'other'"):
        apply(CropSeriesOptions(length=2, field="other"), {"series": value})
