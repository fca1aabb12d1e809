from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.visibility import Causal, Places, SameSegment, Visibility, dense_mask


@dataclass(frozen=True)
class Window(Visibility):
    """A rule that the package does not have."""

    size: int

    def allowed(self, query: Places, key: Places) -> Tensor:
        return query.index - key.index < self.size


RULES = [Causal(), SameSegment(), Causal() & SameSegment(), Causal() & Window(2) & SameSegment()]


def slow_mask(rule: Visibility, index_BT: Tensor, segments_BT: Tensor) -> Tensor:
    num_rows, num_tokens = segments_BT.shape
    mask = torch.empty(num_rows, 1, num_tokens, num_tokens, dtype=torch.bool)
    for row, query, key in itertools.product(range(num_rows), range(num_tokens), range(num_tokens)):
        at_query = Places(index_BT[row, query], segments_BT[row, query])
        at_key = Places(index_BT[row, key], segments_BT[row, key])
        mask[row, 0, query, key] = rule.allowed(at_query, at_key)
    return mask


@pytest.mark.parametrize("rule", RULES, ids=str)
@settings(deadline=None, max_examples=8)
@given(rows=st.integers(1, 3), data=st.data())
def test_dense_mask_evaluates_the_rule_for_every_pair(rule: Visibility, rows: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 5))
    numbers = st.lists(st.integers(0, 2), min_size=length, max_size=length)
    segments_BT = torch.tensor([sorted(data.draw(numbers)) for _ in range(rows)])
    index_BT = torch.arange(length).expand(rows, length)
    mask = dense_mask(rule, Places(index_BT, segments_BT))
    assert torch.equal(mask, slow_mask(rule, index_BT, segments_BT))


def test_one_row_of_places_gives_one_mask_for_every_row() -> None:
    mask = dense_mask(Causal(), Places(torch.arange(5)[None]))
    assert torch.equal(mask, torch.ones(1, 1, 5, 5, dtype=torch.bool).tril())


def test_same_segment_keeps_documents_apart_in_both_directions() -> None:
    mask = dense_mask(SameSegment(), Places(torch.arange(4)[None], torch.tensor([[0, 0, 1, 2]])))
    assert mask[0, 0].long().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_both_rules_must_allow() -> None:
    places = Places(torch.arange(4)[None], torch.tensor([[0, 0, 1, 1]]))
    together = dense_mask(Causal() & SameSegment(), places)
    assert torch.equal(together, dense_mask(Causal(), places) & dense_mask(SameSegment(), places))
    assert together[0, 0].long().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]


def test_every_token_sees_itself() -> None:
    places = Places(torch.arange(6)[None], torch.tensor([[0, 1, 1, 2, 3, 3]]))
    # A query that sees nothing would have a softmax over nothing.
    assert dense_mask(Causal() & SameSegment(), places).diagonal(dim1=-2, dim2=-1).all()


@pytest.mark.parametrize("rule", [SameSegment(), Causal() & SameSegment()], ids=str)
def test_same_segment_without_segments_is_refused(rule: Visibility) -> None:
    with pytest.raises(ValueError, match="needs segment numbers"):
        dense_mask(rule, Places(torch.arange(3)[None]))


def test_the_base_rule_allows_nothing_by_itself() -> None:
    with pytest.raises(NotImplementedError):
        dense_mask(Visibility(), Places(torch.arange(3)[None]))
