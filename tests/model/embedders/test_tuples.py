from __future__ import annotations

import numpy as np
import pytest
import torch

from data.priors.options import BanditOptions, LinearRegressionOptions
from data.sources import build_source
from model.embedders.options import TuplesOptions
from model.embedders.tuples import TupleEmbedder
from model.options import TransformerOptions
from model.transformer import Transformer

REGRESSION = {"x": {"width": 3}, "y": {}}
DECISIONS = {"state": {"width": 2}, "actions": {"classes": 5}, "rewards": {}}


def _embedder(elements: dict[str, object], dim: int = 8) -> TupleEmbedder:
    torch.manual_seed(0)
    return TupleEmbedder(TuplesOptions.model_validate({"elements": elements}), dim).double()


def test_elements_alternate_and_each_has_its_own_map() -> None:
    embedder = _embedder(REGRESSION)
    x, y = torch.randn(2, 4, 3).double(), torch.randn(2, 4).double()
    tokens = embedder(y=y, x=x)
    known = torch.zeros(1)
    for pair in range(4):
        of_x = embedder.elements["x"].linear(torch.cat((x[:, pair], known.expand(2, 3)), 1))
        of_y = embedder.elements["y"].linear(torch.cat((y[:, pair, None], known.expand(2, 1)), 1))
        torch.testing.assert_close(tokens.x[:, 2 * pair], of_x)
        torch.testing.assert_close(tokens.x[:, 2 * pair + 1], of_y)
    assert tokens.positions.tolist() == [list(range(8))]


def test_categories_and_their_missing_ones() -> None:
    embedder = _embedder(DECISIONS)
    actions = torch.tensor([[0, 4, -1]])
    tokens = embedder(state=torch.zeros(1, 3, 2).double(), actions=actions, rewards=torch.zeros(1, 3).double())
    table = embedder.elements["actions"].weight
    assert torch.equal(tokens.x[0, 1::3], table[torch.tensor([0, 4, 5])])


def test_a_missing_number_is_not_a_zero_and_its_neighbours_count() -> None:
    embedder = _embedder(REGRESSION)

    def first(*values: float) -> torch.Tensor:
        return embedder(x=torch.tensor([[values]]).double(), y=torch.zeros(1, 1).double()).x[0, 0]

    nan = float("nan")
    missing = first(1.0, nan, 2.0)
    assert bool(missing.isfinite().all())
    assert torch.equal(first(1.0, float("inf"), 2.0), missing)
    assert not torch.allclose(first(1.0, 0.0, 2.0), missing)
    assert not torch.allclose(first(1.5, nan, 2.0), missing)


@pytest.mark.parametrize(
    ("prior", "elements"),
    [
        (LinearRegressionOptions(dim=3, points=6), {"x": {"width": 3}, "y": {}}),
        (BanditOptions(arms=5, horizon=6), {"actions": {"classes": 5}, "rewards": {}}),
    ],
    ids=["linear_regression", "bandit"],
)
def test_a_causal_model_reads_what_a_prior_draws(prior: object, elements: dict[str, object]) -> None:
    embedder = {"kind": "tuples", "elements": elements, "max_length": 6}
    tree = {"embedder": embedder, "dim": 8, "num_layers": 1, "mixer": {"num_heads": 2}, "positions": "learned"}
    torch.manual_seed(0)
    model = Transformer(TransformerOptions.model_validate(tree))
    sample = build_source(prior)[0]
    fields = {name: torch.from_numpy(np.asarray(sample[name]))[None] for name in elements}
    before = model(**fields).x
    last = list(elements)[-1]
    after = model(**fields | {last: fields[last].index_fill(1, torch.tensor([5]), 9.0)}).x
    assert torch.equal(after[:, :-1], before[:, :-1])
    assert not torch.allclose(after[:, -1], before[:, -1])
