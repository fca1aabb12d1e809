from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from configs.errors import ConfigError, TrainingError
from data.loader import collate
from data.priors.options import StructuralCausalOptions
from data.sources import build_source
from data.tables.options import ContextSplitOptions
from tests.train.tables import TREES, pfn_of
from train.objectives.objective import require_fields
from train.objectives.options import PFNOptions
from train.objectives.pfn import PFN

KINDS = pytest.mark.parametrize("kind", TREES)


def batch_of(rows: int = 3, **changes: Any) -> dict[str, Tensor]:
    options: dict[str, Any] = {"rows": 12, "min_features": 2, "max_features": 5, "max_classes": 4, "missing": 0.3}
    split = ContextSplitOptions(context=[0.2, 0.8])
    source = build_source(StructuralCausalOptions(**options | changes, transforms=[split]))
    return collate([source[index] for index in range(rows)])


def slow_sum(model: PFN, batch: dict[str, Tensor]) -> float:
    """One table, one queried row and one class at a time."""
    loss = 0.0
    for number in range(len(batch["label"])):
        table = {name: field[number : number + 1] for name, field in batch.items()}
        classes, known = int(table["num_classes"]), int(table["num_context"])
        hidden = model.transformer(table["features"], table["label"], table["num_features"], table["num_context"])
        per_row = hidden.x.shape[1] // 12
        for row in range(known, 12):
            last = hidden.x[0, (row + 1) * per_row - 1]
            logits = [(model.head.weight[c] @ last + model.head.bias[c]).item() for c in range(classes)]
            loss -= logits[int(table["label"][0, row])] - math.log(sum(map(math.exp, logits)))
    return loss


@KINDS
def test_the_loss_is_a_sum_over_queried_rows_among_the_classes_of_their_table(kind: str) -> None:
    model, batch = pfn_of(kind), batch_of()
    assert len(set(batch["num_classes"].tolist())) > 1
    # The logits are brought to float32 for the softmax.
    assert float(model(batch)["loss"].detach()) == pytest.approx(slow_sum(model, batch), rel=1e-6)
    assert model.num_targets(batch) == sum(12 - known for known in batch["num_context"].tolist())


@KINDS
def test_losses_of_micro_batches_add_up(kind: str) -> None:
    model, batch = pfn_of(kind), batch_of(4)
    parts = [{name: field[rows] for name, field in batch.items()} for rows in (slice(0, 1), slice(1, 4))]
    assert sum(map(model.num_targets, parts)) == model.num_targets(batch)
    total = sum(float(model(part)["loss"].detach()) for part in parts)
    assert total == pytest.approx(float(model(batch)["loss"].detach()), rel=1e-6)


@KINDS
def test_every_parameter_is_trained(kind: str) -> None:
    model = pfn_of(kind)
    model(batch_of(8, missing=0.5))["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


def test_classes_that_a_table_does_not_have_are_ruled_out() -> None:
    model, batch = pfn_of(), batch_of()
    fields = ("features", "label", "num_features", "num_classes", "num_context")
    logits = model.logits(*(batch[name] for name in fields))
    for row, classes in enumerate(batch["num_classes"].tolist()):
        assert bool(logits[row, :, :classes].isfinite().all())
        assert bool((logits[row, :, classes:] == float("-inf")).all())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_features": 9, "min_features": 9}, r"9 features, more than model\.embedder\.max_features=5"),
        ({"max_classes": 9, "min_classes": 9}, r"\d classes, more than model\.embedder\.max_classes=4"),
    ],
    ids=["features", "classes"],
)
def test_tables_that_are_too_large_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        pfn_of().num_targets(batch_of(rows=8, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": "rotary"}, r"rows are a set; model\.positions is rotary, set it to none"),
        ({"visibility": "bidirectional"}, r"model\.visibility is bidirectional, set it to context"),
        ({"documents": "joined"}, r"model\.documents is joined, set it to separate"),
        ({"embedder": {"vocab_size": 9, "max_length": 9}}, r"reads tables; model\.embedder is text"),
    ],
    ids=["positions", "visibility", "documents", "embedder"],
)
def test_models_that_read_no_sets_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pfn_of(**changes)


def test_tables_that_are_not_split_are_refused() -> None:
    with pytest.raises(ConfigError, match="objective pfn reads features, label, num_features, num_classes, num_con"):
        require_fields(PFNOptions(), build_source(StructuralCausalOptions(rows=4)), "data.train")


def test_a_prior_is_split_as_its_transforms_say_and_differently_at_every_position() -> None:
    split = ContextSplitOptions(context=[0.2, 0.8])
    plain = build_source(StructuralCausalOptions(rows=20))
    source = build_source(StructuralCausalOptions(rows=20, transforms=[split]))
    assert sorted(map(tuple, source[3]["features"].tolist())) == sorted(map(tuple, plain[3]["features"].tolist()))
    draws = [source.draw(3, np.random.default_rng(seed))["num_context"] for seed in range(5)]  # type: ignore[attr-defined]
    assert len(set(map(int, draws))) > 1
    other = StructuralCausalOptions(rows=20, transforms=[ContextSplitOptions(context=[0.1, 0.8])])
    assert len({plain.fingerprint, source.fingerprint, build_source(other).fingerprint}) == 3
