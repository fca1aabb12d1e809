from __future__ import annotations

import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from configs.errors import ConfigError
from configs.options import construct
from tests.train.tables import pfn_of
from train.fit_predict import fit_predict
from train.probes.options import TablesProbeOptions
from train.probes.probe import ProbeContext
from train.probes.tables import TablesProbe, halves
from train.world import World


def _context(objective: object, world: World | None = None) -> ProbeContext:
    engine = SimpleNamespace(objective=objective, evaluating=nullcontext)
    recipe = SimpleNamespace(objective=SimpleNamespace(kind="causal_lm"))
    return ProbeContext(cast(Any, recipe), cast(Any, engine), micro_rows=1, world=world or World())


def test_halves_are_disjoint_whole_and_the_same_every_time() -> None:
    features, _ = datasets.load_wine(return_X_y=True)
    known, asked, known_labels, asked_labels = halves("wine", 1)
    assert sorted(map(tuple, np.concatenate([known, asked]))) == sorted(map(tuple, features))
    assert abs(np.bincount(known_labels) - np.bincount(asked_labels)).max() <= 1
    halves.cache_clear()
    assert np.array_equal(halves("wine", 1)[0], known)
    assert not np.array_equal(halves("wine", 2)[0], known)


def test_figures_are_means_over_splits_and_tables() -> None:
    model = pfn_of(embedder={"kind": "table_rows", "max_features": 13, "max_classes": 3})
    options = TablesProbeOptions(tables=["iris", "wine"], splits=2, orders=1)
    figures = TablesProbe(options, _context(model)).measure(0)
    ours, theirs = [], []
    for number in range(2):
        known, asked, known_labels, asked_labels = halves("iris", number)
        ours.append(np.mean(fit_predict(model, known, known_labels, asked).argmax(1) == asked_labels))
        scaler = StandardScaler().fit(known)
        baseline = LogisticRegression(max_iter=1000).fit(scaler.transform(known), known_labels)
        theirs.append(baseline.score(scaler.transform(asked), asked_labels))
    assert figures["iris_accuracy"] == pytest.approx(np.mean(ours))
    assert figures["iris_logistic_regression"] == pytest.approx(np.mean(theirs))
    assert 0.9 < cast(float, figures["iris_random_forest"]) < 1
    for way in ("accuracy", "logistic_regression", "random_forest"):
        of_tables = [cast(float, figures[f"{name}_{way}"]) for name in ("iris", "wine")]
        assert figures[way] == pytest.approx(np.mean(of_tables))


def test_ranks_share_the_splits_and_predict_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pfn_of(embedder={"kind": "table_rows", "max_features": 13, "max_classes": 3})
    options = TablesProbeOptions(tables=["iris"], splits=3, orders=1)
    whole = TablesProbe(options, _context(model)).measure(0)
    shares: list[list[float]] = []
    calls: list[int] = []
    for rank in range(2):
        world = World(rank=rank, size=2)
        monkeypatch.setattr(World, "sum_float", lambda _, values: shares.append(values) or values)
        before = len(calls)
        monkeypatch.setattr("train.probes.tables.fit_predict", lambda *a, **k: calls.append(1) or fit_predict(*a, **k))
        TablesProbe(options, _context(model, world)).measure(0)
        assert len(calls) - before == 2
    sums = np.sum(shares, axis=0) / 3
    assert sums == pytest.approx([whole[name] for name in ("accuracy", "logistic_regression", "random_forest")])


def test_a_model_of_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="probe tables: classifies tables; objective causal_lm does not"):
        TablesProbe(TablesProbeOptions(), _context(object()))


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "train.probes.tables")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ConfigError, match=r"probe tables needs scikit-learn .* 'polytrain\[tabular\]'"):
        construct(TablesProbeOptions(), None)
