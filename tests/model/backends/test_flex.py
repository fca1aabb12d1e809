"""FlexAttention forward on CPU: the rule as a function of places equals the definition."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.backends.flex import Flex
from model.backends.reference import Reference
from model.visibility import Causal, Global, Places, SameSegment, Window
from tests.model.backends.cases import (
    Problem,
    assert_equals_reference,
    assert_unseen_tokens_change_nothing,
    places,
    problem,
    problems,
    rules,
)


@pytest.fixture
def without_tracing() -> Iterator[None]:
    """Every example would be traced anew for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.nn.attention.flex_attention._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
        yield


@pytest.mark.usefixtures("without_tracing")
class TestEager:
    @settings(deadline=None, max_examples=30)
    @given(one=problems(rules(), needs_grad=False))
    def test_equals_the_definition(self, one: Problem) -> None:
        assert Flex().objection(one.request) is None
        assert_equals_reference(one, Flex())

    @settings(deadline=None, max_examples=12)
    @given(one=problems(rules(2), needs_grad=False, has_bias=True))
    def test_equals_the_definition_with_a_bias(self, one: Problem) -> None:
        assert_equals_reference(one, Flex())

    @settings(deadline=None, max_examples=12)
    @given(data=st.data())
    def test_queries_and_keys_may_differ_in_number(self, data: st.DataObject) -> None:
        query, key = data.draw(places(2, 5)), data.draw(places(2, 9))
        assert_equals_reference(problem(data.draw(rules(2)), query, key, batch=2, needs_grad=False), Flex())

    @settings(deadline=None, max_examples=12)
    @given(data=st.data())
    def test_a_token_that_is_not_visible_changes_nothing(self, data: st.DataObject) -> None:
        one = data.draw(problems(rules(2), needs_grad=False))
        assert_unseen_tokens_change_nothing(one, Flex(), data.draw(st.integers(0, one.k.shape[2] - 1)))

    def test_queries_that_see_nothing_get_zeros(self) -> None:
        where = Places(torch.arange(12)[None], torch.tensor([[-1] * 4 + [0] * 8]))
        one = problem(Window(2, 2) & SameSegment(), where, where, batch=1, needs_grad=False)
        outputs = one.outputs(Flex())
        assert torch.equal(outputs[:, :, :4], torch.zeros_like(outputs[:, :, :4]))
        assert outputs[:, :, 4:].abs().amin() > 0


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for CPUs with g++")
def test_the_compiled_kernel_equals_the_definition_with_bias_and_softcap() -> None:
    segment = torch.tensor([[0] * 50 + [1] * 100 + [-1] * 50, [0] * 200])
    where = Places(torch.arange(200)[None], segment)
    rule = Causal() & SameSegment() & (Window(20, 0) | Global(2))
    one = problem(rule, where, where, batch=2, softcap=3.0, has_bias=True, needs_grad=False, dtype=torch.float32)
    torch.testing.assert_close(one.outputs(Flex()), one.outputs(Reference()), rtol=1e-5, atol=1e-5)
