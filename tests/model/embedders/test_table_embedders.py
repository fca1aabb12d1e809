from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.transformer import Transformer
from tests.model.embedders.tables import KINDS, Table, of_rows, table_of, transformer_of

NAN, INF = float("nan"), float("inf")


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> Transformer:
    return transformer_of(request.param)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def with_cell(table: Table, row: int, column: int, value: float) -> Table:
    features = table.features.clone()
    features[:, row, column] = value
    return replace(table, features=features)


def test_the_order_of_the_context_does_not_matter(model: Transformer) -> None:
    table = table_of()
    order = torch.tensor([3, 0, 4, 2, 1, 5, 6, 7, 8])
    close(of_rows(model, table.rows(order))[:, 5:], of_rows(model, table)[:, 5:])


def test_queries_in_another_order_have_their_results_in_that_order(model: Transformer) -> None:
    table = table_of()
    order = torch.tensor([0, 1, 2, 3, 4, 8, 6, 5, 7])
    close(of_rows(model, table.rows(order)), of_rows(model, table)[:, order])


def test_queries_see_neither_each_other_nor_any_label_of_theirs(model: Transformer) -> None:
    table = table_of()
    before = of_rows(model, table)
    after = of_rows(model, with_cell(table, 6, 1, 1e3))
    others = [0, 1, 2, 3, 4, 5, 7, 8]
    assert torch.equal(after[:, others], before[:, others])
    assert not torch.allclose(after[:, 6], before[:, 6], atol=1e-3)
    label = table.label.clone()
    label[:, 5:] = -100
    assert torch.equal(of_rows(model, replace(table, label=label)), before)


def test_every_known_label_matters_to_every_query(model: Transformer) -> None:
    table = table_of()
    before = of_rows(model, table)[:, 5:]
    for row in range(5):
        label = table.label.clone()
        label[:, row] = (label[:, row] + 1) % 3
        changed = (of_rows(model, replace(table, label=label))[:, 5:] - before).abs().amax(-1)
        assert bool((changed > 1e-6).all())


def test_columns_without_names_may_change_places_in_a_model_of_cells_alone() -> None:
    table = table_of()
    moved = replace(table, features=table.features[:, :, [2, 0, 3, 1]])
    cells, rows = (transformer_of(kind) for kind in ("table_cells", "table_rows"))
    close(of_rows(cells, moved), of_rows(cells, table))
    assert not torch.allclose(of_rows(rows, moved), of_rows(rows, table), atol=1e-2)


def test_padding_does_not_matter(model: Transformer) -> None:
    table = table_of()
    junk = torch.tensor([NAN, 1e3]).double().expand(1, 9, 2)
    close(of_rows(model, replace(table, features=torch.cat((table.features, junk), 2))), of_rows(model, table))


def test_tables_of_a_batch_do_not_meet(model: Transformer) -> None:
    wide, narrow = table_of(columns=4, known=5), table_of(columns=2, known=7, seed=1)
    padded = torch.nn.functional.pad(narrow.features, (0, 2), value=5.0)
    both = Table(
        torch.cat((wide.features, padded)),
        torch.cat((wide.label, narrow.label)),
        torch.tensor([4, 2]),
        torch.tensor([5, 7]),
    )
    close(of_rows(model, both), torch.cat((of_rows(model, wide), of_rows(model, narrow))))


def test_units_of_a_feature_do_not_matter(model: Transformer) -> None:
    table = table_of()
    units = torch.tensor([2.0, 100.0, 0.5, 3.0]).double()
    close(of_rows(model, replace(table, features=table.features * units - 7)), of_rows(model, table))


@pytest.mark.parametrize("row", [1, 6], ids=["known", "asked"])
def test_a_missing_cell_is_missing_whatever_stands_for_it(model: Transformer, row: int) -> None:
    table = table_of()
    missing = of_rows(model, with_cell(table, row, 2, NAN))
    assert bool(missing.isfinite().all())
    assert torch.equal(of_rows(model, with_cell(table, row, 2, INF)), missing)
    others = [known for known in range(5) if known != row]
    average = float(table.features[0, others, 2].mean())
    assert not torch.allclose(of_rows(model, with_cell(table, row, 2, average)), missing, atol=1e-2)


def test_a_column_that_nobody_in_the_context_knows_is_missing_altogether(model: Transformer) -> None:
    table = table_of()
    table.features[:, :5, 1] = NAN
    assert torch.equal(of_rows(model, with_cell(table, 6, 1, 8.0)), of_rows(model, with_cell(table, 6, 1, NAN)))
