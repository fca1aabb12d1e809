"""The adapter of flash-attn, with a double in the place of the package, which needs a GPU.

The double has the signatures of flash-attn 2.8.3, refuses what the package refuses, and computes densely what its
documentation says.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.backends.flash import Flash, _objection_to_rule
from model.visibility import Causal, Everything, NotPadding, Places, SameSegment, Visibility, Window
from tests.model.backends.cases import (
    Problem,
    assert_equals_reference,
    assert_unseen_tokens_change_nothing,
    problem,
)

# `flash_attn/flash_attn_interface.py` of flash-attn 2.8.3.
SIGNATURES = {
    "flash_attn_func": (
        "(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, "
        "alibi_slopes=None, deterministic=False, return_attn_probs=False)"
    ),
    "flash_attn_varlen_func": (
        "(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None, "
        "causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None, deterministic=False, "
        "return_attn_probs=False, block_table=None)"
    ),
}
CALLS: list[dict[str, Any]] = []


def dense(q_TH: Tensor, k_SG: Tensor, v_SG: Tensor, how: dict[str, Any]) -> Tensor:
    """One sequence: [T, H, K], [S, G, K] -> [T, H, K]. The mask is aligned to the bottom right corner."""
    length, num_keys = len(q_TH), len(k_SG)
    (left, right), group = how["window_size"], q_TH.shape[1] // k_SG.shape[1]
    scores = torch.einsum("thk,shk->hts", q_TH, k_SG.repeat_interleave(group, 1)) * how["softmax_scale"]
    if how["softcap"] > 0:
        scores = how["softcap"] * torch.tanh(scores / how["softcap"])
    place = torch.arange(length)[:, None] + num_keys - length
    ahead = torch.arange(num_keys)[None] - place
    sees = torch.ones(length, num_keys, dtype=torch.bool)
    sees &= (ahead <= 0) if how["causal"] else sees
    sees &= (-ahead <= left) if left >= 0 else sees
    sees &= (ahead <= right) if right >= 0 else sees
    highest = scores.detach().masked_fill(~sees, -1e30).amax(-1, keepdim=True)
    weights = (scores - highest).masked_fill(~sees, float("-inf")).exp()
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return torch.einsum("hts,shk->thk", weights, v_SG.repeat_interleave(group, 1))


def check(q: Tensor, k: Tensor, v: Tensor, how: dict[str, Any]) -> None:
    """What the package refuses (`csrc/flash_attn/flash_api.cpp`)."""
    assert q.dtype == k.dtype == v.dtype
    assert q.stride(-1) == k.stride(-1) == v.stride(-1) == 1
    assert q.shape[-1] <= 256
    assert q.shape[-2] % k.shape[-2] == 0
    assert not (how["softcap"] and how["dropout_p"])
    assert isinstance(how["deterministic"], bool)
    assert how["softcap"] >= 0
    CALLS.append(how)


def flash_attn_func(
    q,
    k,
    v,
    dropout_p=0.0,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    softcap=0.0,
    alibi_slopes=None,
    deterministic=False,
    return_attn_probs=False,
):
    how = dict(locals())
    check(q, k, v, how)
    assert q.shape[0] == k.shape[0] > 0
    return torch.stack([dense(*row, how) for row in zip(q, k, v, strict=True)])


def flash_attn_varlen_func(
    q,
    k,
    v,
    cu_seqlens_q,
    cu_seqlens_k,
    max_seqlen_q,
    max_seqlen_k,
    dropout_p=0.0,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    softcap=0.0,
    alibi_slopes=None,
    deterministic=False,
    return_attn_probs=False,
    block_table=None,
):
    how = dict(locals())
    check(q, k, v, how)
    assert q.dim() == k.dim() == 3
    assert len(cu_seqlens_q) == len(cu_seqlens_k) > 1
    mixed = torch.zeros_like(q)
    for x, ends, longest in ((q, cu_seqlens_q, max_seqlen_q), (k, cu_seqlens_k, max_seqlen_k)):
        assert ends.dtype == torch.int32
        assert ends[0] == 0
        assert ends[-1] == len(x)
        assert type(longest) is int
        assert ends.diff().max() == longest
    for number in range(len(cu_seqlens_q) - 1):
        queries, keys = (slice(*ends[number : number + 2].tolist()) for ends in (cu_seqlens_q, cu_seqlens_k))
        if q[queries].numel() and k[keys].numel():
            one = dense(q[queries], k[keys], v[keys], how)
            mixed = mixed.index_copy(0, torch.arange(len(q))[queries], one)
    return mixed


@pytest.fixture(scope="module", autouse=True)
def double() -> Iterator[None]:
    functions = {"flash_attn_func": flash_attn_func, "flash_attn_varlen_func": flash_attn_varlen_func}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "flash_attn", SimpleNamespace(**functions))
        yield


@pytest.mark.parametrize("function", [flash_attn_func, flash_attn_varlen_func], ids=lambda f: f.__name__)
def test_the_double_has_the_signatures_of_the_package(function: Any) -> None:
    plain = inspect.signature(function)
    bare = plain.replace(
        parameters=[item.replace(annotation=inspect.Parameter.empty) for item in plain.parameters.values()],
        return_annotation=inspect.Signature.empty,
    )
    assert str(bare) == SIGNATURES[function.__name__]


WORDS: list[st.SearchStrategy[Visibility]] = [
    st.builds(Everything),
    st.builds(Causal),
    st.builds(SameSegment),
    st.builds(NotPadding),
    st.builds(Window, st.integers(0, 6), st.integers(0, 6)),
]


@st.composite
def sentences(draw: st.DrawFn) -> Visibility:
    parts = draw(st.lists(st.one_of(WORDS), min_size=1, max_size=4))
    rule = parts[0]
    for part in parts[1:]:
        rule = rule & part
    return rule


@st.composite
def whole_rows(draw: st.DrawFn) -> Problem:
    """Self-attention: packed documents side by side with padding behind, or anything anywhere."""
    batch, length = draw(st.integers(1, 3)), draw(st.integers(1, 16))
    rows = []
    side_by_side = draw(st.booleans())
    for _ in range(batch):
        row = draw(st.lists(st.integers(-1, 2), min_size=length, max_size=length))
        rows.append(sorted(row, key=lambda number: number % 4) if side_by_side else row)
    where = Places(torch.arange(length)[None], torch.tensor(rows) if draw(st.booleans()) else None)
    return _problem(draw, where, where, batch)


@st.composite
def memories(draw: st.DrawFn) -> Problem:
    """Cross-attention: another number of keys, whose padding is anywhere."""
    batch, length, num_keys = draw(st.integers(1, 3)), draw(st.integers(1, 8)), draw(st.integers(1, 8))
    numbers = st.integers(-1, 1)

    def segments(size: int) -> Tensor:
        rows = st.lists(numbers, min_size=size, max_size=size)
        return torch.tensor([draw(rows) for _ in range(batch)])

    query = Places(torch.arange(length)[None], segments(length) if draw(st.booleans()) else None)
    key = Places(torch.arange(num_keys)[None], segments(num_keys))
    return _problem(draw, query, key, batch)


@st.composite
def further_tokens(draw: st.DrawFn) -> Problem:
    """Decoding: the queries are the last keys; rows are padded anywhere, which places do not count."""
    batch, num_keys = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    rows = st.lists(st.sampled_from([0, 0, -1]), min_size=num_keys, max_size=num_keys)
    segment = torch.tensor([draw(rows) for _ in range(batch)])
    key = Places(((segment >= 0).long().cumsum(1) - 1).clamp(min=0), segment)
    length = draw(st.integers(1, num_keys))
    return _problem(draw, Places(key.index[:, -length:], segment[:, -length:]), key, batch)


def _problem(draw: st.DrawFn, query: Places, key: Places, batch: int) -> Problem:
    heads, softcap = draw(st.sampled_from([(4, 4), (4, 2), (4, 1)])), draw(st.sampled_from([None, 2.0]))
    return problem(draw(sentences()), query, key, batch=batch, heads=heads, softcap=softcap)


@pytest.mark.parametrize("kind", [whole_rows, memories, further_tokens], ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_whatever_is_not_objected_to_equals_the_definition(kind: Any, data: st.DataObject) -> None:
    one = data.draw(kind())
    assume(_objection_to_rule(one.request) is None)
    assert_equals_reference(one, Flash())


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_token_that_is_not_visible_changes_nothing(data: st.DataObject) -> None:
    one = data.draw(whole_rows())
    assume(_objection_to_rule(one.request) is None)
    assert_unseen_tokens_change_nothing(one, Flash(), data.draw(st.integers(0, one.k.shape[2] - 1)))


PACKED = Places(torch.arange(6)[None], torch.tensor([[0, 0, 1, 1, 1, 2], [0, 0, 0, 0, -1, -1]]))
DECODING = Places(torch.tensor([[0, 1, 2, 3], [0, 0, 0, 1]]), torch.tensor([[0, 0, 0, 0], [-1, -1, 0, 0]]))
LAST = Places(DECODING.index[:, -1:], DECODING.segment[:, -1:])  # type: ignore[index]
ACCEPTED: list[tuple[Visibility, Places, Places]] = [
    (Everything(), PACKED, PACKED),
    (Causal(), PACKED, PACKED),
    (Causal() & Window(2, 5), PACKED, PACKED),
    (Window(2, 0), PACKED, PACKED),
    (SameSegment(), PACKED, PACKED),
    (NotPadding(), PACKED, PACKED),
    (NotPadding(), Places(torch.arange(3)[None]), PACKED),
    (SameSegment() & Everything() & Causal(), PACKED, PACKED),
    (Causal() & SameSegment() & Window(1, 0) & Window(3, 3), PACKED, PACKED),
    (SameSegment(), Places(PACKED.index[:, :4], PACKED.segment[:, :4]), PACKED),  # type: ignore[index]
    (Causal() & SameSegment(), LAST, DECODING),
    (Causal() & SameSegment() & Window(2, 0), LAST, DECODING),
]


@pytest.mark.parametrize(("rule", "query", "key"), ACCEPTED, ids=[f"{n}-{rule[0]}" for n, rule in enumerate(ACCEPTED)])
def test_the_rules_that_models_use_are_accepted(rule: Visibility, query: Places, key: Places) -> None:
    one = problem(rule, query, key, batch=2)
    assert _objection_to_rule(one.request) is None
    assert_equals_reference(one, Flash())


APART = Places(torch.arange(4)[None], torch.tensor([[0, -1, 0, 0]]))
REFUSED: list[tuple[Visibility, Places, Places, str]] = [
    (Causal(), Places(torch.arange(4)[None]), Places(torch.arange(6)[None]), "the last tokens of the keys"),
    (Window(1, 1) & SameSegment(), APART, APART, "side by side"),
    (Causal() & NotPadding(), PACKED, PACKED, "documents kept separate"),
    (Causal(), Places(torch.tensor([[3]])), Places(torch.tensor([[0, 1, 3]])), "in order"),
    (SameSegment() | Causal(), PACKED, PACKED, "no word for"),
]


@pytest.mark.parametrize(("rule", "query", "key", "objection"), REFUSED, ids=[row[3] for row in REFUSED])
def test_what_its_words_would_not_mean_is_objected_to(
    rule: Visibility, query: Places, key: Places, objection: str
) -> None:
    found = _objection_to_rule(problem(rule, query, key, batch=len(key.index)).request)
    assert found is not None
    assert objection in found


def test_rows_of_nothing_but_padding_are_zeros_with_gradients_of_zero() -> None:
    where = Places(torch.arange(3)[None], torch.full((2, 3), -1))
    assert_equals_reference(problem(Causal() & SameSegment(), where, where, batch=2), Flash())


def test_packed_rows_without_padding_are_not_copied() -> None:
    full = Places(torch.arange(4)[None], torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]]))
    sides = Flash().prepare(problem(SameSegment(), full, full, batch=2).request).sides
    assert sides is not None
    assert [side.is_everything for side in sides] == [True, True]
    assert sides[0].ends.tolist() == [0, 2, 4, 5, 8]


def test_it_is_deterministic_where_torch_has_to_be() -> None:
    one, was = problem(Causal(), PACKED, PACKED, batch=2), torch.are_deterministic_algorithms_enabled()
    for wanted in (True, False):
        torch.use_deterministic_algorithms(wanted)
        try:
            one.outputs(Flash())
        finally:
            torch.use_deterministic_algorithms(was)
        assert CALLS[-1]["deterministic"] is wanted


def test_it_computes_in_the_precision_asked_for() -> None:
    one = problem(Causal(), PACKED, PACKED, batch=2, dtype=torch.float32)
    half = replace(one, request=replace(one.request, dtype=torch.bfloat16))
    assert half.outputs(Flash()).dtype == torch.bfloat16


def test_dropout_and_scale_reach_the_package() -> None:
    one = problem(Causal() & SameSegment(), PACKED, PACKED, batch=2)
    Flash().attend(one.q, one.k, one.v, Flash().prepare(one.request), scale=0.3, dropout=0.2)
    assert (CALLS[-1]["softmax_scale"], CALLS[-1]["dropout_p"], CALLS[-1]["causal"]) == (0.3, 0.2, True)
