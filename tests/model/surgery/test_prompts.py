from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from configs.errors import ConfigError
from model.tokens import Tokens

Make = Callable[..., Any]
TOKENS = torch.arange(18).view(2, 9) % 23
PROMPTS = {"kind": "prompts", "length": 3}
KINDS: dict[str, dict[str, Any]] = {
    "rotary": {},
    "alibi": {"positions": "alibi"},
    "relative": {"positions": "relative"},
    "window": {"mixer": {"num_heads": 4, "window": 4}},
}


@pytest.fixture
def prompted(whole_of: Make, operate: Make) -> Make:
    def make(**changes: Any) -> Any:
        whole = whole_of(**changes)
        operate(whole, PROMPTS)
        with torch.no_grad():
            table = whole.transformer.prompts.double().table
            table.weight.normal_(0.0, 0.4, generator=torch.Generator().manual_seed(1))
        return whole.transformer

    return make


def written_out(model: Any, tokens: Tensor) -> Tensor:
    """Prompts as vectors of real tokens before those of the text, in a model without prompts."""
    text = model.embed(tokens)
    prompts_PD = model.prompts.table.weight.expand(len(tokens), -1, -1)
    x = torch.cat((prompts_PD, text.x), dim=1)
    # Only distances count, but angles are rounded to float32: so the same places.
    places_T = torch.arange(-prompts_PD.shape[1], tokens.shape[1])
    table = model.prompts
    model.prompts = None
    hidden = model.transform(Tokens(x, places_T[None])).x[:, prompts_PD.shape[1] :]
    model.prompts = table
    return hidden


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_are_tokens_in_front_that_nobody_sees_come_out(prompted: Make, kind: str) -> None:
    model = prompted(**KINDS[kind])
    hidden = model(TOKENS)
    assert hidden.x.shape == (2, 9, 16)
    assert hidden.num_prefix == 0
    torch.testing.assert_close(hidden.x, written_out(model, TOKENS), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("visibility", ["causal", "bidirectional"])
def test_every_document_of_a_packed_row_sees_them_and_nothing_of_the_others(prompted: Make, visibility: str) -> None:
    model = prompted(visibility=visibility)
    segments = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 2, 2], [4, 5, 5, 5, 5, 5, 5, -1, -1]])
    hidden = model(TOKENS, segments).x
    for row, first, last in [(0, 0, 4), (0, 4, 7), (0, 7, 9), (1, 0, 1), (1, 1, 7)]:
        alone = model(TOKENS[row : row + 1, first:last]).x[0]
        torch.testing.assert_close(hidden[row, first:last], alone, rtol=1e-10, atol=1e-12)


def test_learned_positions_belong_to_the_text(prompted: Make) -> None:
    model = prompted(positions="learned")
    assert model(torch.zeros(1, 16, dtype=torch.long)).x.shape == (1, 16, 16)
    torch.testing.assert_close(model(TOKENS).x, written_out(model, TOKENS), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_token_by_token_sees_them(prompted: Make, kind: str) -> None:
    model = prompted(**KINDS[kind])
    state = model.start(2, torch.device("cpu"), torch.float64)
    found = []
    for place in range(TOKENS.shape[1]):
        tokens = model.embed(TOKENS[:, place : place + 1])
        tokens = replace(tokens, positions=torch.full((1, 1), place))
        hidden, state = model.step(tokens, state)
        found.append(hidden.x)
    torch.testing.assert_close(torch.cat(found, dim=1), model(TOKENS).x, rtol=1e-10, atol=1e-12)


def test_a_split_moves_with_the_text(prompted: Make) -> None:
    model = prompted(visibility="prefix")
    split = torch.tensor([4, 4])
    hidden = model(TOKENS, split_B=split).x
    changed = TOKENS.clone()
    changed[:, 3] += 1
    # The last token of the prefix is seen by the first; the one behind it is not.
    assert not torch.equal(model(changed, split_B=split).x[:, 0], hidden[:, 0])
    changed = TOKENS.clone()
    changed[:, 4] += 1
    torch.testing.assert_close(model(changed, split_B=split).x[:, :4], hidden[:, :4], rtol=1e-12, atol=1e-12)


def test_cross_attention_is_refused(prompted: Make) -> None:
    with pytest.raises(ConfigError, match=r"surgery\[0\]: prompts are not for a model with cross-attention"):
        prompted(cross=True)


def test_prompts_learn_while_the_model_is_frozen(whole_of: Make, operate: Make) -> None:
    whole = whole_of()
    operate(whole, {"kind": "freeze", "select": "**"}, PROMPTS)
    whole.transformer.prompts.double()
    whole.transformer(TOKENS).x.square().sum().backward()
    assert {name for name, item in whole.named_parameters() if item.grad is not None} == {
        "transformer.prompts.table.weight"
    }
    assert whole.transformer.prompts.table.weight.grad.any()
