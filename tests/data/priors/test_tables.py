"""Structural causal models and forests: what holds for tables, and what each is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.priors.arithmetic import product, ranks, squash, standardise
from data.priors.forest import Forest, grow
from data.priors.options import ForestOptions, StructuralCausalOptions, TableOptions
from data.priors.structural_causal import StructuralCausal
from data.priors.tables import categorise, cut
from data.randomness import stream
from data.sample import Sample
from data.sources import build_source

SMALL = {"min_features": 2, "max_features": 4, "max_classes": 4}
TABLES: list[TableOptions] = [
    StructuralCausalOptions(**SMALL),
    StructuralCausalOptions(causal=0.0, **SMALL),
    StructuralCausalOptions(causal=1.0, **SMALL),
    ForestOptions(max_depth=8, **SMALL),
]


def nearest_neighbour_gain(sample: Sample) -> float:
    """How much more often the nearest known row has the label of a queried row than the commonest label is right."""
    features_RC, label_R = sample["features"][:, : int(sample["num_features"])], sample["label"]
    known, queried = np.array_split(np.arange(len(label_R)), 2)
    scale = features_RC[known].std(axis=0) + 1e-6
    squares = ((features_RC[queried][:, None] - features_RC[known][None]) / scale) ** 2
    nearest = label_R[known][squares.sum(axis=2).argmin(axis=1)]
    commonest = np.bincount(label_R[known]).argmax()
    return float((nearest == label_R[queried]).mean() - (commonest == label_R[queried]).mean())


table_options = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 9),
        "rows": st.integers(2, 40),
        "min_features": st.integers(1, 5),
        "max_features": st.integers(5, 9),
        "min_classes": st.integers(2, 4),
        "max_classes": st.integers(4, 12),
        "categorical": st.sampled_from([0.0, 0.5, 1.0]),
        "missing": st.sampled_from([0.0, 0.5]),
    }
)


@settings(max_examples=30, deadline=None)
@given(drawn=table_options, kind=st.sampled_from([ForestOptions, StructuralCausalOptions]), index=st.integers(0, 99))
def test_shapes_types_and_ranges(drawn: dict[str, object], kind: type[TableOptions], index: int) -> None:
    options = kind.model_validate(drawn)
    sample = build_source(options)[index]
    assert {name: (value.shape, value.dtype.name) for name, value in sample.items()} == {
        "features": ((options.rows, options.max_features), "float32"),
        "label": ((options.rows,), "int64"),
        "num_features": ((), "int64"),
        "num_classes": ((), "int64"),
    }
    width, classes = int(sample["num_features"]), int(sample["num_classes"])
    assert options.min_features <= width <= options.max_features
    assert 1 <= classes <= options.max_classes
    assert np.unique(sample["label"]).tolist() == list(range(classes))
    assert (sample["features"][:, width:] == 0).all()
    assert not np.isinf(sample["features"]).any()
    assert options.missing > 0 or not np.isnan(sample["features"]).any()


@pytest.mark.parametrize("options", TABLES, ids=lambda options: f"{options.kind}-{getattr(options, 'causal', '')}")
def test_labels_can_be_learned(options: TableOptions) -> None:
    source = build_source(options)
    assert np.mean([nearest_neighbour_gain(source[index]) for index in range(20)]) > 0.03


@pytest.mark.parametrize("options", TABLES[::3], ids=lambda options: options.kind)
def test_columns_classes_and_their_shares_vary(options: TableOptions) -> None:
    samples = [build_source(options)[index] for index in range(40)]
    assert {int(sample["num_features"]) for sample in samples} == {2, 3, 4}
    assert {int(sample["num_classes"]) for sample in samples} >= {2, 3, 4}
    first_shares = [float((sample["label"] == 0).mean()) for sample in samples]
    assert np.std(first_shares) > 0.1
    assert all(int(sample["num_classes"]) > 1 for sample in samples)


@pytest.mark.parametrize("kind", [ForestOptions, StructuralCausalOptions])
def test_missing_cells_are_only_features_and_only_as_many_as_asked(kind: type[TableOptions]) -> None:
    full = kind.model_validate({**SMALL, "categorical": 0.0, "rows": 64})
    samples = [build_source(full.model_copy(update={"missing": 0.5}))[index] for index in range(30)]
    shares = [float(np.isnan(s["features"][:, : int(s["num_features"])]).mean()) for s in samples]
    assert 0.15 < np.mean(shares) < 0.35
    assert max(shares) < 0.6
    for index, sample in enumerate(samples):
        kept = ~np.isnan(sample["features"])
        assert np.array_equal(sample["features"][kept], build_source(full)[index]["features"][kept])


@pytest.mark.parametrize("kind", [ForestOptions, StructuralCausalOptions])
def test_categories_are_as_asked(kind: type[TableOptions]) -> None:
    def categorical_columns(probability: float) -> float:
        source = build_source(kind.model_validate({**SMALL, "categorical": probability}))
        columns = [source[i]["features"][:, c] for i in range(25) for c in range(int(source[i]["num_features"]))]
        # A saturated or dead node has few values too, but they are no counting numbers from 0.
        return float(np.mean([set(column) <= set(range(30)) for column in map(np.unique, columns)]))

    assert categorical_columns(0.0) < 0.05
    assert 0.25 < categorical_columns(1.0) < 0.75


def test_features_of_networks_are_standardised_without_outliers() -> None:
    sample = build_source(StructuralCausalOptions(categorical=0.0))[0]
    features_RC = sample["features"][:, : int(sample["num_features"])].astype(float)
    assert np.abs(features_RC.mean(axis=0)).max() < 1e-5
    assert np.abs(features_RC).max() < 6


def test_without_noise_the_target_of_a_network_follows_from_its_causes() -> None:
    rng = stream(0, "test")
    source = StructuralCausal(
        StructuralCausalOptions(causal=0.0, noise_std=0.0, categorical=0.0, rows=40, min_layers=1, max_layers=1)
    )
    errors = []
    for _ in range(30):
        features_RC, target_R = source.table(rng, 3)
        inputs = np.concatenate([features_RC, np.ones((40, 1))], axis=1)
        fitted = inputs @ np.linalg.lstsq(inputs, target_R, rcond=None)[0]
        errors.append(float(np.abs(fitted - target_R).max()))
    # A third of the networks are linear, the others squash or cut off.
    assert 5 <= sum(error < 1e-9 for error in errors) <= 20


def test_wide_tables_fit_narrow_networks() -> None:
    options = StructuralCausalOptions(
        causal=1.0, min_layers=1, max_layers=1, min_width=2, max_width=2, min_features=9, max_features=9
    )
    assert int(build_source(options)[0]["num_features"]) == 9


def test_a_deep_tree_memorises_its_rows_and_a_shallow_one_has_few_leaves() -> None:
    rng = stream(0, "test")
    x_NC, y_N = rng.standard_normal((200, 3)), rng.standard_normal(200)
    assert np.array_equal(grow(rng, x_NC, y_N, 64, 2).predict(x_NC), y_N)
    shallow = grow(rng, x_NC, y_N, 3, 2)
    assert 4 <= len(np.unique(shallow.predict(x_NC))) <= 8


@pytest.mark.parametrize("index", range(10))
def test_one_cut_is_the_best_of_all_cuts(index: int) -> None:
    rng = stream(index, "test")
    x_NC, y_N = rng.standard_normal((30, 1)), rng.standard_normal(30)

    def error(threshold: float) -> float:
        sides = (y_N[x_NC[:, 0] <= threshold], y_N[x_NC[:, 0] > threshold])
        return sum(float(((side - side.mean()) ** 2).sum()) for side in sides if len(side))

    tree = grow(rng, x_NC, y_N, 1, 1)
    found = float(((tree.predict(x_NC) - y_N) ** 2).sum())
    assert found == pytest.approx(min(error(value) for value in x_NC[:, 0]))


def test_equal_values_do_not_stop_a_tree() -> None:
    rng = stream(0, "test")
    x_NC, y_N = np.round(rng.standard_normal((50, 2))), rng.standard_normal(50)
    predicted = grow(rng, x_NC, y_N, 64, 2).predict(x_NC)
    assert np.isfinite(predicted).all()
    assert ((predicted - y_N) ** 2).sum() < ((y_N - y_N.mean()) ** 2).sum()


def test_the_target_of_a_forest_is_a_function_of_what_it_shows() -> None:
    source = Forest(ForestOptions(min_features=1, max_features=1, rows=200, trees=3, base_rows=64))
    for index in range(10):
        sample = source[index]
        values, inverse = np.unique(sample["features"][:, 0], return_inverse=True)
        for value in range(len(values)):
            assert len(set(sample["label"][inverse == value])) == 1


@given(values=st.lists(st.integers(0, 5), min_size=1, max_size=30), levels=st.integers(1, 8), seed=st.integers(0, 99))
def test_levels_follow_the_order_of_values(values: list[int], levels: int, seed: int) -> None:
    found = cut(stream(seed, "test"), np.array(values, dtype=float), levels)
    assert set(found.tolist()) == set(range(int(found.max()) + 1))
    assert found.max() < levels
    for one, level in zip(values, found, strict=True):
        assert all(level <= other for value, other in zip(values, found, strict=True) if one <= value)


def test_categorise_leaves_its_argument_alone() -> None:
    features_RC = stream(0, "test").standard_normal((20, 8))
    before = features_RC.copy()
    after = categorise(stream(1, "test"), features_RC, 1.0)
    assert np.array_equal(features_RC, before)
    assert not np.array_equal(after, before)


def test_arithmetic_is_what_it_says() -> None:
    rng = stream(0, "test")
    x, w = rng.standard_normal((20, 7)), rng.standard_normal((7, 5))
    assert np.allclose(product(x, w), x @ w, atol=1e-12)
    wide = np.linspace(-30, 30, 10001)
    assert np.abs(squash(wide) - np.tanh(wide)).max() < 1e-4
    assert ranks(np.array([3.0, 1.0, 3.0, 9.0])).tolist() == [0.5, 0.125, 0.5, 0.875]
    constant = standardise(np.full((9, 2), 5.0), clip_at=4.0)
    assert (constant == 0).all()
