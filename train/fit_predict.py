"""Classification of a real table by a model fitted to a prior: known rows in, classes of other rows out.

model = TrainedModel.of_run(Path("runs/pfn")).objective
probabilities = fit_predict(model, known_features, known_labels, features, orders=4)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.errors import DataError
from train.objectives.pfn import PFN

Table = NDArray[np.floating]


@torch.no_grad()
def fit_predict(
    model: PFN, known_XC: Table, labels_X: NDArray[np.generic], asked_QC: Table, *, orders: int = 1
) -> NDArray[np.float64]:
    """Probabilities of the classes np.unique(labels) for every asked row [Q, classes].

    The mean over all cyclic shifts of the class numbers, and over `orders` cyclic shifts of the columns. So to shift
    the class numbers shifts the result, to the last bit; and with as many orders as columns, to shift those changes
    nothing. Of a table that is too wide every order sees the first `max_features` columns.

    Args:
        model: in evaluation mode.
        known_XC: features of the known rows; NaN is missing.
        labels_X: their classes: numbers or texts.
        asked_QC: features of the rows to classify.
        orders: at most as many as there are columns are taken.

    Raises:
        DataError: when there are more classes than the model knows.
    """
    classes, label_X = np.unique(labels_X, return_inverse=True)
    if len(classes) > model.limits.max_classes:
        raise DataError(
            f"the table has {len(classes)} classes, the model knows {model.limits.max_classes} (embedder.max_classes)."
        )
    device = model.head.weight.device
    features_RC = torch.from_numpy(np.concatenate([known_XC, asked_QC]).astype(np.float64)).to(device)
    label_R = torch.zeros(len(features_RC), dtype=torch.long, device=device)
    label_R[: len(label_X)] = torch.from_numpy(label_X).to(device)
    members = []
    for columns in _orders(features_RC.shape[1], model.limits.max_features, orders):
        for shift in range(len(classes)):
            shifted_R = (label_R + shift) % len(classes)
            probabilities_RN = _probabilities(model, features_RC[:, columns], shifted_R, len(label_X), len(classes))
            members.append(probabilities_RN[len(label_X) :].roll(-shift, dims=1))
    # Sorted, and then one by one: the sum does not depend on which member came first, nor on the place in the array.
    total_QN = sum(torch.stack(members).sort(dim=0).values.unbind(), torch.zeros(()))
    return cast(NDArray[np.float64], (total_QN / len(members)).cpu().numpy())


def _orders(num_columns: int, most: int, orders: int) -> Iterator[list[int]]:
    """Cyclic shifts of the columns, spread evenly, each cut to `most`."""
    orders = min(orders, num_columns)
    for number in range(orders):
        first = number * num_columns // orders
        yield [(first + column) % num_columns for column in range(min(num_columns, most))]


def _probabilities(model: PFN, features_RC: Tensor, label_R: Tensor, num_context: int, num_classes: int) -> Tensor:
    """Of every class for every row, float64 [R, classes]."""
    numbers = (torch.tensor([n], device=label_R.device) for n in (features_RC.shape[1], num_classes, num_context))
    logits_1RN = model.logits(features_RC[None], label_R[None], *numbers)
    return logits_1RN[0, :, :num_classes].double().softmax(-1)
