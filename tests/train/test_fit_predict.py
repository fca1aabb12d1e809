from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from configs.errors import DataError
from tests.train.tables import TREES, pfn_of
from train.fit_predict import fit_predict
from train.objectives.pfn import PFN

KINDS = pytest.mark.parametrize("kind", TREES)


@dataclass(frozen=True)
class Task:
    known: NDArray[np.float64]
    labels: NDArray[Any]
    asked: NDArray[np.float64]

    def predicted(self, model: PFN, orders: int = 1) -> NDArray[np.float64]:
        return fit_predict(model, self.known, self.labels, self.asked, orders=orders)

    def columns(self, order: list[int]) -> Task:
        return replace(self, known=self.known[:, order], asked=self.asked[:, order])


def task(columns: int = 4, classes: int = 3) -> Task:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((15, columns))
    return Task(features[:9], np.arange(9) % classes, features[9:])


@KINDS
def test_it_is_the_mean_of_the_predictions_for_all_shifts_of_the_classes(kind: str) -> None:
    model, mine = pfn_of(kind), task()
    features = torch.from_numpy(np.concatenate([mine.known, mine.asked]))[None]
    sizes = [torch.tensor([size]) for size in (4, 3, 9)]
    total = 0.0
    for shift in range(3):
        label = torch.tensor([[(c + shift) % 3 for c in mine.labels] + [0] * 6])
        with torch.no_grad():
            logits = model.logits(features, label, *sizes)[0, 9:, :3]
        total += torch.stack([logits.softmax(-1)[:, (c + shift) % 3] for c in range(3)], 1)
    np.testing.assert_allclose(mine.predicted(model), total / 3, atol=1e-12)


@KINDS
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_shifted_class_numbers_shift_the_result_to_the_last_bit(kind: str, classes: int) -> None:
    model, mine = pfn_of(kind), task(classes=classes)
    found = mine.predicted(model, orders=2)
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-12)
    for shift in range(1, classes):
        shifted = replace(mine, labels=(mine.labels + shift) % classes).predicted(model, orders=2)
        assert np.array_equal(np.roll(shifted, -shift, axis=1), found)


def test_all_orders_of_columns_make_shifts_of_columns_meaningless() -> None:
    model, mine = pfn_of(), task()
    shifted = mine.columns([2, 3, 0, 1])
    assert np.array_equal(shifted.predicted(model, orders=4), mine.predicted(model, orders=4))
    assert not np.allclose(shifted.predicted(model), mine.predicted(model), atol=1e-3)
    # There are no more than four.
    assert np.array_equal(mine.predicted(model, orders=9), mine.predicted(model, orders=4))


@KINDS
def test_rows_are_predicted_each_for_itself(kind: str) -> None:
    model, mine = pfn_of(kind), task()
    alone = replace(mine, asked=mine.asked[2:3])
    np.testing.assert_allclose(alone.predicted(model), mine.predicted(model)[2:3], atol=1e-10)


def test_classes_may_be_texts_and_cells_missing() -> None:
    model, mine = pfn_of(), task()
    mine.known[2, 1] = mine.asked[0, 3] = np.nan
    named = replace(mine, labels=np.array(["cat", "dog", "elk"])[mine.labels])
    found = named.predicted(model)
    assert np.array_equal(found, mine.predicted(model))
    assert np.isfinite(found).all()


def test_of_a_table_that_is_too_wide_every_order_takes_a_part() -> None:
    model, mine = pfn_of(), task(columns=8)
    first, second = (mine.columns(list(order)).predicted(model) for order in ([0, 1, 2, 3, 4], [4, 5, 6, 7, 0]))
    np.testing.assert_allclose(mine.predicted(model, orders=2), (first + second) / 2, atol=1e-12)


def test_more_classes_than_the_model_has_are_refused() -> None:
    with pytest.raises(DataError, match="the table has 9 classes, the model knows 4"):
        task(classes=9).predicted(pfn_of())
