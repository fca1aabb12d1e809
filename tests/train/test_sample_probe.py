from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from configs.errors import DataError
from model.tokens import Tokens
from train.probes.options import SampleProbeOptions
from train.probes.probe import ProbeContext
from train.probes.sample import SampleProbe
from train.recipe import Recipe
from train.world import World

WORDS = ["<s>", "</s>", "a", "b", "c", "d"]


@pytest.fixture
def tokenizer_path(tmp_path: Path) -> Path:
    """A tokenizer made by others: it ends documents with </s>, and begins and ends what it encodes with both."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


class Counting:
    """A model that counts: a b c d </s>, and from </s> on to a. Its hidden states are the tokens."""

    def __init__(self, seen: list[list[int]]) -> None:
        self._seen = seen

    def embed(self, tokens_BT: Tensor, positions_BT: Tensor) -> Tokens:
        self._seen.append(tokens_BT[0].tolist())
        return Tokens(torch.eye(6)[tokens_BT], positions_BT)

    def start(self, *_request: object) -> None:
        return None

    def step(self, tokens: Tokens, state: None) -> tuple[Tokens, None]:
        return tokens, state


def context(recipe: Recipe, seen: list[list[int]]) -> ProbeContext:
    after = {1: 2, 5: 1}
    following = torch.eye(6)[[after.get(token, token + 1) for token in range(6)]]
    objective = SimpleNamespace(transformer=Counting(seen), predict=lambda hidden_BTD: hidden_BTD @ following)
    engine = SimpleNamespace(objective=objective, evaluating=nullcontext)
    return ProbeContext(recipe, cast(Any, engine), micro_rows=1, world=World())


def test_text_is_continued_up_to_the_token_that_ends_documents(
    recipe_of: Callable[..., Recipe], tokenizer_path: Path
) -> None:
    recipe = recipe_of(data={"tokenizer": str(tokenizer_path), "end_of_text": "</s>"})
    for prompt, first, text in [("b", [3], "c d"), ("", [1], "a b c d")]:
        seen: list[list[int]] = []
        probe = SampleProbe(SampleProbeOptions(prompt=prompt, temperature=0, every=1), context(recipe, seen))
        assert probe.measure(3) == {"prompt": prompt, "text": text}
        assert seen[0] == first  # as documents were encoded: without <s> and </s> around it


def test_a_tokenizer_without_that_token_is_refused(recipe_of: Callable[..., Recipe], tokenizer_path: Path) -> None:
    recipe = recipe_of(data={"tokenizer": str(tokenizer_path)})
    with pytest.raises(DataError, match=r"has no token .* Name the one that does; its special tokens are <s> </s>"):
        SampleProbe(SampleProbeOptions(every=1), context(recipe, []))
