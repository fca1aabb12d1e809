"""Points of noisy linear functions, and the two estimators that know the task distribution.

With a pool of M tasks the Bayes estimator averages over the pool; with fresh tasks it is ridge
regression. Which of the two a model comes to resemble depends on M (Raventos et al. 2023, "Pretraining
task diversity and the emergence of non-Bayesian in-context learning for regression").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.priors.arithmetic import Floats, product
from data.priors.options import LinearRegressionOptions
from data.priors.prior import Prior
from data.randomness import stream
from data.sample import Sample


class LinearRegression(Prior[LinearRegressionOptions]):
    """A `Source` of `{"x": [K, D], "y": [K], "weights": [D]}` (float32): y = x.weights + noise.

    x, fresh weights and the pool are standard normal. `weights` is the answer: not for the model.
    """

    def __init__(self, options: LinearRegressionOptions) -> None:
        super().__init__(options)
        self.pool_MD = _pool(options)

    def make(self, rng: np.random.Generator) -> Sample:
        """One task and its points."""
        dim, points = self.options.dim, self.options.points
        if len(self.pool_MD):
            weights_D = self.pool_MD[rng.integers(len(self.pool_MD))]
        else:
            weights_D = rng.standard_normal(dim).astype(np.float32)
        x_KD = rng.standard_normal((points, dim)).astype(np.float32)
        clean_K = product(x_KD.astype(np.float64), weights_D.astype(np.float64)[:, None])[:, 0]
        y_K = clean_K + self.options.noise_std * rng.standard_normal(points)
        return {"x": x_KD, "y": y_K.astype(np.float32), "weights": weights_D}


def ridge(x_KD: NDArray[np.floating], y_K: NDArray[np.floating], noise_std: float) -> Floats:
    """For each k, the prediction of y_k from the pairs before it [K]; Bayes-optimal for fresh tasks.

    The posterior mean (X'X + noise_std^2 I)^-1 X'y of the weights, in float64; without noise the
    shortest weights that fit.
    """
    x_KD, y_K = x_KD.astype(np.float64), y_K.astype(np.float64)
    dim = x_KD.shape[1]
    predictions_K = np.zeros(len(y_K))
    for k in range(1, len(y_K)):
        # As least squares: rows noise_std I with target 0 are the prior. Better conditioned than X'X.
        rows = np.concatenate([x_KD[:k], noise_std * np.eye(dim)])
        weights_D = np.linalg.lstsq(rows, np.concatenate([y_K[:k], np.zeros(dim)]), rcond=None)[0]
        predictions_K[k] = x_KD[k] @ weights_D
    return predictions_K


def discrete_mmse(
    x_KD: NDArray[np.floating], y_K: NDArray[np.floating], pool_MD: NDArray[np.floating], noise_std: float
) -> Floats:
    """For each k, the prediction of y_k from the pairs before it [K]; Bayes-optimal for tasks of the pool.

    The mean of the pool's predictions under the posterior softmax(-|y - Xw|^2 / (2 noise_std^2)),
    noise_std > 0, in float64 and shifted by the largest exponent: single precision loses the posterior.
    """
    x_KD, y_K, pool_MD = x_KD.astype(np.float64), y_K.astype(np.float64), pool_MD.astype(np.float64)
    guesses_KM = x_KD @ pool_MD.T
    squares_KM = (y_K[:, None] - guesses_KM) ** 2
    log_posterior_KM = np.zeros_like(squares_KM)
    log_posterior_KM[1:] = -np.cumsum(squares_KM[:-1], axis=0) / (2 * noise_std**2)
    posterior_KM = np.exp(log_posterior_KM - log_posterior_KM.max(axis=1, keepdims=True))
    posterior_KM /= posterior_KM.sum(axis=1, keepdims=True)
    return np.asarray((posterior_KM * guesses_KM).sum(axis=1))


def _pool(options: LinearRegressionOptions) -> NDArray[np.float32]:
    """The tasks; a smaller pool of the same pool_seed is the beginning of a larger one."""
    rng = stream(options.pool_seed, options.kind, "pool")
    return rng.standard_normal((options.tasks, options.dim)).astype(np.float32)
