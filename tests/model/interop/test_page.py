"""A family that is one file and one line: the one that docs/model.md shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor

from configs.errors import ConfigError
from model.interop.families import FAMILIES, family, family_of
from model.interop.family import Description
from model.options import TransformerOptions
from tests.model.interop.parity import Pair, pair_of, ragged, tokens_of

CONFIG: dict[str, Any] = {
    "vocab_size": 23,
    "max_position_embeddings": 16,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
}


@pytest.fixture(autouse=True)
def _qwen2(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "model.md").read_text()
    (code,) = re.findall(r"```python\n(\"\"\"`Qwen2.*?)```", page, re.DOTALL)
    module = ModuleType("qwen2_of_the_page")
    exec(compile(code, "docs/model.md", "exec"), module.__dict__)  # the project's own page
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(FAMILIES, "qwen2", module.__name__)


@pytest.mark.parametrize("name", ["Qwen2ForCausalLM", "Qwen2Model"])
def test_it_computes_what_transformers_computes(name: str, tmp_path: Path) -> None:
    import transformers

    cls = getattr(transformers, name)
    pair = pair_of(cls(cls.config_class(**CONFIG, attn_implementation="sdpa")))
    tokens = tokens_of((3, 9), 23)
    keep, mask, segments = ragged([9, 4, 1], 9)

    def outputs(pair: Pair) -> tuple[Tensor, Tensor]:
        hidden = pair.ours.transformer(tokens, segments)
        ours = pair.ours.logits(hidden) if hasattr(pair.ours, "head") else hidden.x
        return ours[keep], pair.theirs(tokens, attention_mask=mask)[0][keep]

    pair.require_same(outputs)
    pair.require_round_trip(tmp_path)
    assert family_of(pair.ours.description).name == "qwen2"


def test_what_it_does_not_compute_is_refused() -> None:
    found = family("qwen2")
    with pytest.raises(ConfigError, match="use_sliding_window True"):
        found.describe(CONFIG | {"rms_norm_eps": 1e-6, "use_sliding_window": True}, "Qwen2Model")
    description = found.describe(CONFIG | {"rms_norm_eps": 1e-6}, "Qwen2Model")
    assert found.misfits(description) == []
    other = TransformerOptions.model_validate(description.model.tree() | {"norm_place": "sandwich"})
    assert found.misfits(Description(other)) == ["model.norm_place=sandwich"]
