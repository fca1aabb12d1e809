from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.visibility import (
    Causal,
    ContextOnly,
    Everything,
    NotPadding,
    Places,
    Prefix,
    SameSegment,
    Visibility,
    Window,
    dense_mask,
)


@dataclass(frozen=True)
class SameParity(Visibility):
    """A rule that the package does not have."""

    def allowed(self, query: Places, key: Places) -> Tensor:
        return (query.index - key.index) % 2 == 0


RULES = [
    Everything(),
    Causal(),
    SameSegment(),
    NotPadding(),
    Window(1, 2),
    Causal() | Prefix(),
    ContextOnly(),
    Causal() & SameSegment(),
    Causal() & Window(2, 0) & SameSegment() & SameParity(),
    (Window(1, 1) | ContextOnly()) & NotPadding(),
]


def mask_of(rule: Visibility, places: Places) -> Tensor:
    """For tokens that look at each other."""
    return dense_mask(rule, places, places)


def slow_mask(rule: Visibility, index_BT: Tensor, segments_BT: Tensor, split_B: Tensor) -> Tensor:
    num_rows, num_tokens = segments_BT.shape
    mask = torch.empty(num_rows, 1, num_tokens, num_tokens, dtype=torch.bool)
    for row, query, key in itertools.product(range(num_rows), range(num_tokens), range(num_tokens)):
        at_query = Places(index_BT[row, query], segments_BT[row, query], split_B[row])
        at_key = Places(index_BT[row, key], segments_BT[row, key], split_B[row])
        mask[row, 0, query, key] = rule.allowed(at_query, at_key)
    return mask


@pytest.mark.parametrize("rule", RULES, ids=str)
@settings(deadline=None, max_examples=8)
@given(rows=st.integers(1, 3), data=st.data())
def test_dense_mask_evaluates_the_rule_for_every_pair(rule: Visibility, rows: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 5))
    numbers = st.lists(st.integers(-1, 2), min_size=length, max_size=length)
    segments_BT = torch.tensor([sorted(data.draw(numbers)) for _ in range(rows)])
    index_BT = torch.arange(length).expand(rows, length)
    split_B = torch.tensor([data.draw(st.integers(0, length)) for _ in range(rows)])
    mask = mask_of(rule, Places(index_BT, segments_BT, split_B)).expand(rows, 1, length, length)
    assert torch.equal(mask, slow_mask(rule, index_BT, segments_BT, split_B))


def test_one_row_of_places_gives_one_mask_for_every_row() -> None:
    mask = mask_of(Causal(), Places(torch.arange(5)[None]))
    assert torch.equal(mask, torch.ones(1, 1, 5, 5, dtype=torch.bool).tril())


def test_same_segment_keeps_documents_apart_in_both_directions() -> None:
    mask = mask_of(SameSegment(), Places(torch.arange(4)[None], torch.tensor([[0, 0, 1, 2]])))
    assert mask[0, 0].long().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_both_rules_must_allow() -> None:
    places = Places(torch.arange(4)[None], torch.tensor([[0, 0, 1, 1]]))
    together = mask_of(Causal() & SameSegment(), places)
    assert torch.equal(together, mask_of(Causal(), places) & mask_of(SameSegment(), places))
    assert together[0, 0].long().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]


def test_every_token_sees_itself() -> None:
    places = Places(torch.arange(6)[None], torch.tensor([[0, 1, 1, 2, 3, 3]]))
    # A query that sees nothing would have a softmax over nothing.
    assert mask_of(Causal() & SameSegment(), places).diagonal(dim1=-2, dim2=-1).all()


@pytest.mark.parametrize("rule", [SameSegment(), Causal() & SameSegment()], ids=str)
def test_same_segment_without_segments_is_refused(rule: Visibility) -> None:
    with pytest.raises(ValueError, match="needs segment numbers"):
        mask_of(rule, Places(torch.arange(3)[None]))


def test_the_base_rule_allows_nothing_by_itself() -> None:
    with pytest.raises(NotImplementedError):
        mask_of(Visibility(), Places(torch.arange(3)[None]))


@pytest.mark.parametrize("rule", [Prefix(), ContextOnly()], ids=str)
def test_rules_of_a_split_need_one(rule: Visibility) -> None:
    with pytest.raises(ValueError, match="needs a split"):
        mask_of(rule, Places(torch.arange(3)[None]))


def test_what_a_context_is_and_who_sees_it() -> None:
    places = Places(torch.arange(4)[None], split=torch.tensor([2]))
    assert mask_of(ContextOnly(), places)[0, 0].long().tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 0, 1],
    ]
    assert mask_of(Causal() | Prefix(), places)[0, 0].long().tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 1],
    ]
