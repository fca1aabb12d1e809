from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.priors.linear_regression import LinearRegression, discrete_mmse, ridge
from data.priors.options import LinearRegressionOptions
from data.sample import Sample


def source(**options: object) -> LinearRegression:
    return LinearRegression(LinearRegressionOptions.model_validate(options))


def noiseless_errors(samples: list[Sample], pool_MD: np.ndarray, noise_std: float) -> tuple[float, float]:
    """Mean squared distance of ridge and of discrete MMSE to w.x, over samples and points."""
    found = []
    for sample in samples:
        clean_K = sample["x"].astype(float) @ sample["weights"].astype(float)
        guesses = (
            ridge(sample["x"], sample["y"], noise_std),
            discrete_mmse(sample["x"], sample["y"], pool_MD, noise_std),
        )
        found.append([((guess - clean_K) ** 2).mean() for guess in guesses])
    return tuple(np.mean(found, axis=0).tolist())


@settings(max_examples=30, deadline=None)
@given(dim=st.integers(1, 12), points=st.integers(1, 20), tasks=st.integers(0, 9), noise=st.floats(0, 2))
def test_shapes_types_and_values(dim: int, points: int, tasks: int, noise: float) -> None:
    sample = source(dim=dim, points=points, tasks=tasks, noise_std=noise)[11]
    assert {name: (value.shape, value.dtype.name) for name, value in sample.items()} == {
        "x": ((points, dim), "float32"),
        "y": ((points,), "float32"),
        "weights": ((dim,), "float32"),
    }
    residual = sample["y"].astype(float) - sample["x"].astype(float) @ sample["weights"].astype(float)
    assert np.abs(residual).max() <= 6 * noise + 1e-5


def test_noise_and_inputs_have_their_moments() -> None:
    samples = [source(noise_std=0.5, points=64)[index] for index in range(200)]
    x = np.stack([sample["x"] for sample in samples])
    noise = np.stack([sample["y"] - sample["x"] @ sample["weights"] for sample in samples])
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 0.5) < 0.02


@pytest.mark.parametrize("tasks", [1, 4, 32])
def test_a_pool_has_its_number_of_tasks_and_samples_use_all_of_them(tasks: int) -> None:
    pooled = source(tasks=tasks, dim=3)
    assert len(np.unique(pooled.pool_MD, axis=0)) == tasks
    used = {pooled[index]["weights"].tobytes() for index in range(tasks * 12)}
    assert used == {row.tobytes() for row in pooled.pool_MD}


def test_without_a_pool_every_sample_has_a_task_of_its_own() -> None:
    fresh = source(tasks=0)
    assert len({fresh[index]["weights"].tobytes() for index in range(100)}) == 100


def test_another_seed_keeps_the_pool_and_changes_the_points() -> None:
    one, other = source(tasks=4, seed=0), source(tasks=4, seed=1)
    assert np.array_equal(one.pool_MD, other.pool_MD)
    assert not np.array_equal(one[0]["x"], other[0]["x"])
    assert not np.array_equal(one.pool_MD, source(tasks=4, pool_seed=1).pool_MD)


def test_fresh_tasks_are_not_those_of_a_pool() -> None:
    fresh = {source(dim=2)[index]["weights"].tobytes() for index in range(100)}
    assert not fresh & {row.tobytes() for row in source(tasks=100, dim=2).pool_MD}


def test_a_smaller_pool_is_the_beginning_of_a_larger_one() -> None:
    assert np.array_equal(source(tasks=4).pool_MD, source(tasks=9).pool_MD[:4])


@settings(max_examples=25, deadline=None)
@given(dim=st.integers(1, 8), points=st.integers(1, 16), noise=st.floats(0.05, 2), index=st.integers(0, 999))
def test_ridge_is_the_posterior_mean_in_closed_form(dim: int, points: int, noise: float, index: int) -> None:
    sample = source(dim=dim, points=points, noise_std=noise)[index]
    x, y = sample["x"].astype(float), sample["y"].astype(float)
    expected = [
        x[k] @ np.linalg.inv(x[:k].T @ x[:k] + noise**2 * np.eye(dim)) @ (x[:k].T @ y[:k]) for k in range(points)
    ]
    assert np.allclose(ridge(x, y, noise), expected, rtol=1e-8, atol=1e-8)


def test_ridge_without_noise_finds_the_weights_once_they_are_determined() -> None:
    sample = source(dim=4, points=8, noise_std=0.0)[0]
    assert np.allclose(ridge(sample["x"], sample["y"], 0.0)[4:], sample["y"][4:], atol=1e-4)


def test_discrete_mmse_is_the_posterior_mean_by_bayes_rule() -> None:
    pooled = source(tasks=6, dim=3, points=5)
    sample = pooled[2]
    x, y, pool = sample["x"].astype(float), sample["y"].astype(float), pooled.pool_MD.astype(float)
    posterior = np.full(6, 1 / 6)
    for k, guess in enumerate(discrete_mmse(x, y, pool, 0.5)):
        assert guess == pytest.approx(posterior @ (pool @ x[k]))
        posterior = posterior * np.exp(-((y[k] - pool @ x[k]) ** 2) / 0.5)
        posterior /= posterior.sum()


def test_discrete_mmse_survives_improbable_observations() -> None:
    pooled = source(tasks=6)
    sample = pooled[0]
    predictions = discrete_mmse(sample["x"], sample["y"] + 1e4, pooled.pool_MD, 1e-3)
    assert np.isfinite(predictions).all()


def test_knowing_the_pool_helps_on_its_tasks_and_misleads_on_others() -> None:
    pooled, fresh = source(tasks=4, seed=1), source(tasks=0, seed=2)
    on_pool = noiseless_errors([pooled[index] for index in range(100)], pooled.pool_MD, 0.5)
    on_fresh = noiseless_errors([fresh[index] for index in range(100)], pooled.pool_MD, 0.5)
    assert on_pool[1] < 0.5 * on_pool[0]
    assert on_fresh[1] > 1.3 * on_fresh[0]


def test_estimators_see_only_earlier_points() -> None:
    pooled = source(tasks=6, noise_std=3.0)
    x, y = pooled[0]["x"], pooled[0]["y"]
    changed = np.where(np.arange(16) < 9, y, y + 5)
    for before, after in (
        (ridge(x, y, 3.0), ridge(x, changed, 3.0)),
        (discrete_mmse(x, y, pooled.pool_MD, 3.0), discrete_mmse(x, changed, pooled.pool_MD, 3.0)),
    ):
        assert np.array_equal(before[:10], after[:10])
        assert (np.abs(before[10:] - after[10:]) > 1e-3).any()
