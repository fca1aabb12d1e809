"""Transforms of time series: crops, scaling by channel, and the split for forecasting.

A series is a field [T, C] of numbers, NaN where missing, with `length` [] beside it where its end is padding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.sample import Sample, SampleError
from data.tables.context import require
from data.tables.options import CropSeriesOptions, ForecastSplitOptions, StandardizeSeriesOptions


class CropSeries:
    """[T, C] -> [length, C] and `length` [] int64: the steps that are no padding."""

    def __init__(self, options: CropSeriesOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Draw where the stretch starts."""
        name, length = self.options.field, self.options.length
        series_TC = _series(sample, name, "crop_series")
        start = int(generator.integers(max(len(series_TC) - length, 0) + 1))
        cropped_TC = np.zeros((length, series_TC.shape[1]), dtype=np.float32)
        found = series_TC[start : start + length]
        cropped_TC[: len(found)] = found
        return sample | {name: cropped_TC, "length": np.array(len(found), dtype=np.int64)}


class StandardizeSeries:
    """(x - mean) / std by channel; padding stays zero, missing values missing, a constant channel is only centred."""

    def __init__(self, options: StandardizeSeriesOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Scale the channels; nothing is random."""
        name = self.options.field
        series_TC = _series(sample, name, "standardize_series")
        length = int(sample.get("length", np.array(len(series_TC))))
        mean_C, std_C = _moments(series_TC[:length])
        scaled_TC = np.zeros(series_TC.shape, dtype=np.float32)
        scaled_TC[:length] = (series_TC[:length] - mean_C) / std_C
        others = {also: _series(sample, also, "standardize_series") for also in self.options.also}
        scaled = {also: ((other_TC - mean_C) / std_C).astype(np.float32) for also, other_TC in others.items()}
        numbers = {"series_mean": mean_C.astype(np.float32), "series_std": std_C.astype(np.float32)}
        return sample | {name: scaled_TC} | scaled | numbers


class ForecastSplit:
    """[T, C] -> `context` [context, C] and `horizon` [horizon, C], which follows it."""

    def __init__(self, options: ForecastSplitOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Draw where the window starts."""
        options = self.options
        series_TC = _series(sample, options.field, "forecast_split")
        steps = int(sample.get("length", np.array(len(series_TC))))
        spare = steps - options.context - options.horizon
        if spare < 0:
            raise SampleError(
                f"forecast_split: a series of {steps} steps has no {options.context} known ones and "
                f"{options.horizon} to forecast. Lower context or horizon, or leave such series out."
            )
        start = int(generator.integers(spare + 1))
        middle = start + options.context
        window = {"context": series_TC[start:middle], "horizon": series_TC[middle : middle + options.horizon]}
        kept = {name: value for name, value in sample.items() if name not in (options.field, "length")}
        return kept | {name: value.astype(np.float32) for name, value in window.items()}


def _series(sample: Sample, name: str, by: str) -> NDArray[np.float64]:
    require(sample, name, by=by)
    series_TC = sample[name]
    if series_TC.ndim != 2 or not len(series_TC) or series_TC.dtype.kind not in "fiu":
        raise SampleError(
            f"{by}: the field '{name}' is {series_TC.dtype} {list(series_TC.shape)}; expected numbers [T, C], T > 0"
        )
    return series_TC.astype(np.float64)


def _moments(series_TC: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the known values of each channel; 0 and 1 where there are none."""
    known_TC = ~np.isnan(series_TC)
    count_C = np.maximum(known_TC.sum(axis=0), 1)
    mean_C = np.where(known_TC, series_TC, 0).sum(axis=0) / count_C
    std_C = np.sqrt((np.where(known_TC, series_TC - mean_C, 0.0) ** 2).sum(axis=0) / count_C)
    # Rounding leaves a constant channel a deviation just above 0.
    return mean_C, np.where(std_C > 1e-12 * np.maximum(np.abs(mean_C), 1e-30), std_C, 1.0)
