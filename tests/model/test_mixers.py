"""A mixer from outside: the one that docs/model.md shows."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from configs.options import Part
from model.mixers.mixer import Mixer
from model.transformer import Transformer

ModelOf = Callable[..., Transformer]

_IMPORTS = """
import torch
from torch import Tensor, nn
from configs.options import Part
from model.mixers.mixer import Mixer, MixerContext, State
from model.options import BlockOptions
from model.visibility import dense_mask
"""
TOKENS_BT = torch.randint(0, 23, (2, 12), generator=torch.Generator().manual_seed(0))
SEGMENTS_BT = torch.tensor([[0] * 5 + [1] * 7, [0] * 12])


@pytest.fixture(scope="module", autouse=True)
def my_package() -> Iterator[ModuleType]:
    page = (Path(__file__).parents[2] / "docs" / "model.md").read_text()
    (code,) = re.findall(r"```python\n(class CausalMean.*?)```", page, re.DOTALL)
    module = ModuleType("means_of_the_page")
    exec(compile(_IMPORTS + code, "docs/model.md", "exec"), module.__dict__)  # the project's own page
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


@pytest.fixture
def model(model_of: ModelOf) -> Transformer:
    plan = [{"repeat": 2, "mixer": {"kind": "means_of_the_page:CausalMean"}}, {}]
    return model_of(num_layers=3, plan=plan)


def test_the_plan_mixes_it_with_attention(model: Transformer, my_package: ModuleType) -> None:
    kinds = [type(block.mixer).__name__ for block in model.blocks]
    assert kinds == ["CausalMean", "CausalMean", "Attention"]
    assert issubclass(my_package.CausalMean, Mixer)
    assert issubclass(my_package.CausalMean.Options, Part)


def test_documents_stay_apart_and_later_tokens_unseen(model: Transformer) -> None:
    alone = torch.cat([model(TOKENS_BT[:1, :5]).x, model(TOKENS_BT[:1, 5:]).x], dim=1)
    torch.testing.assert_close(model(TOKENS_BT, SEGMENTS_BT).x[:1], alone, rtol=1e-9, atol=1e-9)
    changed_BT = TOKENS_BT.clone()
    changed_BT[:, 8] = (changed_BT[:, 8] + 1) % 23
    assert torch.equal(model(changed_BT).x[:, :8], model(TOKENS_BT).x[:, :8])


@pytest.mark.parametrize("stride", [1, 5])
def test_decoding_with_a_state_equals_the_whole_row(model: Transformer, stride: int) -> None:
    state, found = model.start(2, TOKENS_BT.device, torch.float64), []
    for first in range(0, 12, stride):
        positions_BT = torch.arange(first, min(12, first + stride))[None]
        tokens = model.embed(TOKENS_BT[:, first : first + stride], positions_BT=positions_BT)
        hidden, state = model.step(tokens, state)
        found.append(hidden.x)
    torch.testing.assert_close(torch.cat(found, dim=1), model(TOKENS_BT).x, rtol=1e-10, atol=1e-10)


def test_cross_attention_needs_the_heads_of_an_attention_mixer(model_of: ModelOf) -> None:
    with pytest.raises(ValueError, match="cross: attends with the heads of an attention mixer"):
        model_of(plan=[{"mixer": {"kind": "means_of_the_page:CausalMean"}, "cross": True}])
