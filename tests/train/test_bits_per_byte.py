from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from configs.errors import ConfigError
from data.text.tokenizer import END_OF_TEXT, train_tokenizer
from train.objectives.causal_lm import CausalLM
from train.probes.bits_per_byte import BitsPerByteProbe
from train.probes.options import BitsPerByteProbeOptions
from train.probes.probe import ProbeContext
from train.recipe import Recipe
from train.world import World


@pytest.fixture
def recipe(recipe_of: Callable[..., Recipe], tmp_path: Path) -> Recipe:
    """Windows of six tokens over "abab…" (training) and "abca" (held out), one token a byte."""
    tokenizer = train_tokenizer(["ab"], vocab_size=257, kind="bytes")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    sources: dict[str, Any] = {}
    for split, text in {"train": "ab" * 12, "validation": "abcaab" * 4}.items():
        ids = np.array(tokenizer.encode(text).ids, dtype=np.int32)
        sources[split] = write_shard(tmp_path / f"{split}.tar", ids)
    embedder = {"vocab_size": tokenizer.get_vocab_size()}
    return recipe_of(data=sources | {"tokenizer": str(tmp_path / "tokenizer.json")}, model={"embedder": embedder})


def write_shard(path: Path, ids: np.ndarray) -> dict[str, Any]:
    import webdataset

    from data.index import write_index

    with webdataset.TarWriter(str(path)) as writer:
        writer.write({"__key__": "0", "npy": ids, "json": json.loads("{}")})
    write_index(path)
    return {"kind": "token_windows", "shards": str(path), "length": 6}


def probe_of(recipe: Recipe, objective: object | None = None) -> BitsPerByteProbe:
    real = CausalLM(recipe.objective, recipe.model)

    def evaluate(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": torch.tensor(real.num_targets(batch) * math.log(2.0) * 3)}  # three bits a token

    engine = SimpleNamespace(objective=objective or real, evaluate=evaluate)
    context = ProbeContext(recipe, cast(Any, engine), micro_rows=2, world=World())
    return BitsPerByteProbe(BitsPerByteProbeOptions(), context)


def test_bits_are_per_byte_of_the_predicted_tokens_and_the_coder_knows_shares_only(recipe: Recipe) -> None:
    figures = probe_of(recipe).measure(0)
    assert figures["bits_per_byte"] == pytest.approx(3.0)
    # Windows of six inputs and one more: 3 of 24 tokens in training and in validation.
    assert figures["bytes"] == 18
    # 18 targets in training, b first: 9 b, 9 a; every entry counts once more.
    entries = recipe.model.embedder.vocab_size  # type: ignore[union-attr]
    bits = {"a": math.log2((18 + entries) / 10), "b": math.log2((18 + entries) / 10), "c": math.log2(18 + entries)}
    targets = ("abcaab" * 4)[1:19]
    assert figures["unigram_bits_per_byte"] == pytest.approx(sum(bits[letter] for letter in targets) / 18)


def test_the_end_of_a_document_costs_bits_but_is_no_byte(recipe: Recipe) -> None:
    table = probe_of(recipe)._bytes_V
    assert table.tolist().count(0) == 1
    assert len(END_OF_TEXT) > 0


def test_other_objectives_are_refused(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match="does not predict text"):
        probe_of(recipe, objective=object())
