from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from model.mixers.attention import Attention
from model.mixers.options import AttentionOptions
from model.options import TransformerOptions
from model.transformer import Transformer
from model.visibility import (
    BlockLocal,
    Both,
    Causal,
    ContextOnly,
    Dilated,
    Either,
    Everything,
    Global,
    NotPadding,
    Places,
    Prefix,
    SameSegment,
    Visibility,
    Window,
    conjuncts,
    dense_mask,
)
from tests.model.backends.cases import rules

OptionsOf = Callable[..., TransformerOptions]


@dataclass(frozen=True)
class At:
    """One token: place, segment, and the split of its row."""

    place: int
    segment: int
    split: int


# What each rule means, a pair of tokens at a time.
MEANS: dict[type[Visibility], Callable[[Any, At, At], bool]] = {
    Everything: lambda rule, query, key: True,
    Causal: lambda rule, query, key: key.place <= query.place,
    SameSegment: lambda rule, query, key: key.segment == query.segment and key.segment != -1,
    NotPadding: lambda rule, query, key: key.segment != -1,
    Window: lambda rule, query, key: query.place - rule.before <= key.place <= query.place + rule.after,
    Dilated: lambda rule, query, key: abs(query.place - key.place) in range(0, 100, rule.step),
    BlockLocal: lambda rule, query, key: any(
        query.place in block and key.place in block
        for block in (range(start, start + rule.size) for start in range(0, 100, rule.size))
    ),
    Global: lambda rule, query, key: min(query.place, key.place) < rule.count,
    Prefix: lambda rule, query, key: key.place < key.split,
    ContextOnly: lambda rule, query, key: key.place < key.split or key.place == query.place,
    Both: lambda rule, query, key: means(rule.first, query, key) and means(rule.second, query, key),
    Either: lambda rule, query, key: means(rule.first, query, key) or means(rule.second, query, key),
}


def means(rule: Visibility, query: At, key: At) -> bool:
    return MEANS[type(rule)](rule, query, key)


def pair_by_pair(rule: Visibility, where: Places) -> Tensor:
    assert where.segment is not None
    assert where.split is not None
    num_rows, length = where.segment.shape
    mask = torch.empty(num_rows, 1, length, length, dtype=torch.bool)
    for row, query, key in itertools.product(range(num_rows), range(length), range(length)):
        segments, split = where.segment[row], int(where.split[row])
        mask[row, 0, query, key] = means(
            rule, At(query, int(segments[query]), split), At(key, int(segments[key]), split)
        )
    return mask


@settings(deadline=None, max_examples=150)
@given(rule=rules(), data=st.data())
def test_a_dense_mask_is_the_meaning_of_the_rule_for_every_pair(rule: Visibility, data: st.DataObject) -> None:
    num_rows, length = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 8))
    numbers = st.lists(st.integers(-1, 2), min_size=length, max_size=length)
    where = Places(
        torch.arange(length)[None],
        torch.tensor([data.draw(numbers) for _ in range(num_rows)]),
        torch.tensor([data.draw(st.integers(0, length)) for _ in range(num_rows)]),
    )
    mask = dense_mask(rule, where, where)
    assert torch.equal(mask.expand(num_rows, -1, -1, -1), pair_by_pair(rule, where))


def test_one_row_of_places_gives_one_mask_for_every_row() -> None:
    where = Places(torch.arange(5)[None])
    assert torch.equal(dense_mask(Causal(), where, where), torch.ones(1, 1, 5, 5, dtype=torch.bool).tril())


def test_queries_may_be_other_tokens_than_keys() -> None:
    query, key = Places(torch.tensor([[3, 4]])), Places(torch.arange(5)[None])
    assert dense_mask(Causal() & Window(2, 0), query, key)[0, 0].long().tolist() == [[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]]


def test_equal_compositions_are_equal_keys() -> None:
    assert {Causal() & (Window(2, 0) | Global(1)): 1}[Causal() & (Window(2, 0) | Global(1))] == 1
    assert Causal() & Dilated(2) != Causal() & Dilated(3)


def test_conjuncts_are_the_rules_that_must_all_allow() -> None:
    rule = (Causal() & SameSegment()) & (Window(1, 1) | Global(2))
    assert conjuncts(rule) == (Causal(), SameSegment(), Window(1, 1) | Global(2))
    assert str(rule) == "((Causal() & SameSegment()) & (Window(before=1, after=1) | Global(count=2)))"


@pytest.mark.parametrize("rule", [SameSegment(), NotPadding(), Prefix(), ContextOnly()], ids=str)
def test_a_rule_without_what_it_looks_at_is_refused(rule: Visibility) -> None:
    where = Places(torch.arange(3)[None])
    with pytest.raises(ValueError, match=r"needs (segment numbers|a split)"):
        dense_mask(rule, where, where)


def test_the_base_rule_allows_nothing_by_itself() -> None:
    where = Places(torch.arange(3)[None])
    with pytest.raises(NotImplementedError):
        dense_mask(Visibility(), where, where)


OF_OPTIONS: list[tuple[dict[str, Any], bool, Visibility]] = [
    ({}, True, Causal()),
    ({"window": 3}, True, Causal() & Window(3, 0)),
    ({"window": 3}, False, Causal() & Window(3, 3)),
    ({"dilation": 2}, True, Causal() & Dilated(2)),
    ({"block": 4}, True, Causal() & BlockLocal(4)),
    ({"window": 3, "global_tokens": 2}, True, Causal() & (Window(3, 0) | Global(2))),
    (
        {"window": 3, "dilation": 2, "block": 4, "global_tokens": 1},
        False,
        Causal() & ((Window(3, 3) & Dilated(2) & BlockLocal(4)) | Global(1)),
    ),
]


@pytest.mark.parametrize(("keys", "causal", "rule"), OF_OPTIONS, ids=[str(row[0]) for row in OF_OPTIONS])
def test_options_of_attention_make_its_rule(
    options_of: OptionsOf, keys: dict[str, Any], causal: bool, rule: Visibility
) -> None:
    block = options_of(mixer=keys).blocks[0]
    assert isinstance(block.mixer, AttentionOptions)
    assert Attention(block.mixer, block, causal=causal).rule(Causal()) == rule


def test_global_tokens_among_tokens_that_see_everyone_are_refused() -> None:
    with pytest.raises(ValidationError, match="global_tokens needs window, dilation or block"):
        AttentionOptions(num_heads=4, global_tokens=1)


@pytest.mark.parametrize("visibility", ["causal", "bidirectional"])
def test_a_model_of_windows_is_the_same_under_every_backend(
    options_of: OptionsOf, model_of: Callable[..., Transformer], visibility: str
) -> None:
    changes: dict[str, Any] = {"visibility": visibility, "mixer": {"window": 3, "dilation": 2, "global_tokens": 1}}
    ids = torch.randint(23, (2, 12), generator=torch.Generator().manual_seed(0))
    segments = torch.tensor([[0] * 12, [0] * 5 + [1] * 5 + [-1] * 2])
    found = [
        model_of(backend=backend, **changes)(ids, segments).x for backend in ("reference", "sdpa", "gather", "auto")
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-9)
