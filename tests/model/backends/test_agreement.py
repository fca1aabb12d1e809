"""What computes attention here equals the definition, in outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.backends.backend import Backend
from model.backends.gather import Gather
from model.backends.reference import Reference
from model.backends.sdpa import SDPA
from model.visibility import Causal, Everything, NotPadding, Places, SameSegment, Window
from tests.model.backends.cases import (
    Problem,
    assert_equals_reference,
    assert_unseen_tokens_change_nothing,
    bounded,
    places,
    problem,
    problems,
    rules,
)

SMALL_BLOCKS = Gather(smallest_block=4)


@settings(deadline=None, max_examples=120)
@given(one=problems(rules()))
def test_sdpa_equals_the_definition(one: Problem) -> None:
    assume(SDPA().objection(one.request) is None)
    assert_equals_reference(one, SDPA())


@settings(deadline=None, max_examples=40)
@given(one=problems(rules(), has_bias=True))
def test_sdpa_with_a_bias_equals_the_definition(one: Problem) -> None:
    assume(SDPA().objection(one.request) is None)
    assert_equals_reference(one, SDPA())


@settings(deadline=None, max_examples=200)
@given(one=problems(bounded()))
def test_gather_equals_the_definition(one: Problem) -> None:
    assert SMALL_BLOCKS.objection(one.request) is None
    assert_equals_reference(one, SMALL_BLOCKS)


@settings(deadline=None, max_examples=60)
@given(one=problems(rules()))
def test_gather_equals_the_definition_wherever_it_has_no_objection(one: Problem) -> None:
    assume(SMALL_BLOCKS.objection(one.request) is None)
    assert_equals_reference(one, SMALL_BLOCKS)


@pytest.mark.parametrize("backend", [SDPA(), Reference()], ids=lambda backend: backend.name)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_queries_and_keys_may_differ_in_number(backend: Backend, data: st.DataObject) -> None:
    query, key = data.draw(places(2, 5)), data.draw(places(2, 9))
    one = problem(data.draw(rules(1)), query, key, batch=2)
    assert_equals_reference(one, backend)


@pytest.mark.parametrize("backend", [SDPA(), Reference(), SMALL_BLOCKS], ids=lambda backend: backend.name)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_token_that_is_not_visible_changes_nothing(backend: Backend, data: st.DataObject) -> None:
    one = data.draw(problems(bounded(), needs_grad=False))
    assume(backend.objection(one.request) is None)
    assert_unseen_tokens_change_nothing(one, backend, data.draw(st.integers(0, one.k.shape[2] - 1)))


@pytest.mark.parametrize("backend", [SDPA(), Reference(), SMALL_BLOCKS], ids=lambda backend: backend.name)
def test_queries_that_see_nothing_get_zeros_and_no_gradient(backend: Backend) -> None:
    where = Places(torch.arange(12)[None], torch.tensor([[-1] * 4 + [0] * 8]))
    one = problem(Window(2, 2) & SameSegment(), where, where, batch=1)
    outputs = one.outputs(backend)
    assert torch.equal(outputs[:, :, :4], torch.zeros_like(outputs[:, :, :4]))
    assert outputs[:, :, 4:].abs().amin() > 0
    for gradient in one.gradients(outputs):
        assert torch.equal(gradient[:, :, :4], torch.zeros_like(gradient[:, :, :4]))
        assert gradient.isfinite().all()


@pytest.mark.parametrize("backend", [SDPA(), Reference(), SMALL_BLOCKS], ids=lambda backend: backend.name)
def test_dropout_drops_whole_weights_and_scales_the_others(backend: Backend) -> None:
    where = Places(torch.arange(200)[None])
    one = problem(Window(0, 0), where, where, batch=2, needs_grad=False)
    torch.manual_seed(0)
    mixed = backend.attend(one.q, one.k, one.v, backend.prepare(one.request), scale=1.0, dropout=0.25)
    # Each query sees itself alone: its weight is 1, and after dropout 0 or 4/3.
    value = one.v.repeat_interleave(2, dim=1)
    kept = (mixed != 0).any(-1)
    torch.testing.assert_close(mixed[kept], value[kept] * 4 / 3, rtol=1e-12, atol=1e-12)
    assert 0.68 < kept.double().mean() < 0.82


# What the fast paths of sdpa rest on.

ONE_DOCUMENT = Places(torch.arange(6)[None], torch.zeros(2, 6, dtype=torch.long))
PADDED = Places(torch.arange(6)[None], torch.tensor([[0] * 6, [0] * 5 + [-1]]))


@pytest.mark.parametrize("rule", [Causal(), Everything() & Causal(), Causal() & SameSegment() & NotPadding()], ids=str)
def test_sdpa_needs_no_mask_where_segments_make_no_difference(rule: Causal) -> None:
    prepared = SDPA().prepare(problem(rule, ONE_DOCUMENT, ONE_DOCUMENT, batch=2).request)
    assert prepared.mask is None
    assert prepared.is_causal


@pytest.mark.parametrize("rule", [SameSegment(), Causal() & SameSegment(), NotPadding()], ids=str)
def test_sdpa_has_a_mask_where_there_is_padding(rule: Causal) -> None:
    one = problem(rule, PADDED, PADDED, batch=2)
    assert SDPA().prepare(one.request).mask is not None
    assert_equals_reference(one, SDPA())


def test_sdpa_looks_at_segments_on_cpu_only() -> None:
    request = problem(Causal() & SameSegment(), ONE_DOCUMENT, ONE_DOCUMENT, batch=2).request
    elsewhere = type(request)(request.rule, request.query, request.key, torch.device("cuda"), request.dtype)
    assert SDPA().prepare(elsewhere).mask is not None


def test_sdpa_takes_causal_for_a_flag_only_where_queries_are_keys() -> None:
    one = problem(Causal(), Places(torch.tensor([[4, 5]])), Places(torch.arange(6)[None]), batch=1)
    assert not SDPA().prepare(one.request).is_causal
    assert_equals_reference(one, SDPA())


@pytest.mark.parametrize("backend", [SDPA(), Reference(), SMALL_BLOCKS], ids=lambda backend: backend.name)
def test_same_segment_without_segments_is_refused(backend: Backend) -> None:
    where = Places(torch.arange(6)[None])
    request = problem(Window(1, 0) & SameSegment(), where, where, batch=1).request
    with pytest.raises(ValueError, match="needs segment numbers"):
        backend.prepare(request)


def test_gather_refuses_rows_out_of_order() -> None:
    where = Places(torch.tensor([[0, 1, 2, 0, 1, 2]]))
    request = problem(Window(1, 0), where, where, batch=1).request
    with pytest.raises(RuntimeError, match="whose index is 0, 1, 2"):
        SMALL_BLOCKS.prepare(request)
