"""Accuracy on small real tables, which the model has never seen, beside models fitted to each of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from train.fit_predict import fit_predict
from train.objectives.pfn import PFN
from train.probes.options import TablesProbeOptions
from train.probes.probe import Figures, ProbeContext

try:
    from sklearn import datasets
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError as error:
    raise ConfigError(f"probe tables needs scikit-learn ({error}): pip install 'polytrain[tabular]'.") from None

Halves = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]
"Known features, asked features, known labels, asked labels."

_BASELINES: dict[str, Callable[[int], Any]] = {
    "logistic_regression": lambda _: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "random_forest": lambda seed: RandomForestClassifier(random_state=seed),
}


class TablesProbe:
    """The mean over random halves of each table, known and asked for; splits are dealt out to the ranks."""

    def __init__(self, options: TablesProbeOptions, context: ProbeContext) -> None:
        if not isinstance(context.engine.objective, PFN):
            raise ConfigError(
                f"probe tables: classifies tables; objective {context.recipe.objective.kind} does not. "
                "Choose objective pfn or leave the probe out."
            )
        self._options = options
        self._context = context
        self._objective = context.engine.objective

    def measure(self, step: int) -> Figures:
        """Mean accuracies over `tables`, and of every table: of the model, logistic regression, random forest."""
        options = self._options
        of_table = {name: self._accuracies(name) for name in options.tables}
        figures: Figures = {}
        for way in ("accuracy", *_BASELINES):
            figures[way] = float(np.mean([accuracies[way] for accuracies in of_table.values()]))
        for name, accuracies in of_table.items():
            figures |= {f"{name}_{way}": accuracy for way, accuracy in accuracies.items()}
        return figures

    def _accuracies(self, name: str) -> dict[str, float]:
        """Of one table, over all splits. Every rank predicts equally often: they gather weights together."""
        world, splits = self._context.world, self._options.splits
        sums = dict.fromkeys(("accuracy", *_BASELINES), 0.0)
        for first in range(0, splits, world.size):
            number = first + world.rank
            accuracy = self._of_model(halves(name, min(number, splits - 1)))
            if number < splits:
                sums["accuracy"] += accuracy
                for way in _BASELINES:
                    sums[way] += of_baseline(way, name, number)
        return {way: total / splits for way, total in zip(sums, world.sum_float(list(sums.values())), strict=True)}

    def _of_model(self, table: Halves) -> float:
        known_XC, asked_QC, known_X, asked_Q = table
        with self._context.engine.evaluating():
            found_QN = fit_predict(self._objective, known_XC, known_X, asked_QC, orders=self._options.orders)
        return float(np.mean(found_QN.argmax(1) == asked_Q))


@functools.cache
def halves(name: str, number: int) -> Halves:
    """Random half `number` of a table, with all classes in equal proportions, and the other half."""
    features, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return tuple(train_test_split(features, labels, test_size=0.5, random_state=number, stratify=labels))


@functools.cache
def of_baseline(way: str, name: str, number: int) -> float:
    """The accuracy of a model fitted to the known half."""
    known_XC, asked_QC, known_X, asked_Q = halves(name, number)
    return float(_BASELINES[way](number).fit(known_XC, known_X).score(asked_QC, asked_Q))
