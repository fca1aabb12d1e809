from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from configs.errors import ConfigError, DataError
from data.index import write_index
from model.selectors import summarised
from train.check import num_parameters, summary
from train.objectives.objective import build_objective
from train.recipe import Recipe

RecipeOf = Callable[..., Recipe]


def pack(path: Path, lengths: list[int]) -> None:
    """A shard with documents of these many tokens."""
    with tarfile.open(path, "w") as tar:
        for number, length in enumerate(lengths):
            content = io.BytesIO()
            np.save(content, np.full(length, number, dtype=np.uint16))
            entry = tarfile.TarInfo(f"{number:03d}.npy")
            entry.size = content.tell()
            content.seek(0)
            tar.addfile(entry, content)
    write_index(path)


@pytest.fixture
def facts_of(recipe_of: RecipeOf, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    pack(tmp_path / "train-0.tar", [10, 3, 12])
    pack(tmp_path / "train-1.tar", [6])
    pack(tmp_path / "validation-0.tar", [13])

    def make(**changes: Any) -> dict[str, Any]:
        data = {"train": {"shards": str(tmp_path / "train-*.tar"), "length": 6}}
        data |= changes.pop("data", {})
        return summary(recipe_of(tmp_path / "run", data=data, **changes))

    make.validation = {"kind": "token_windows", "shards": str(tmp_path / "validation-0.tar"), "length": 4}  # type: ignore[attr-defined]
    return make


def test_documents_tokens_and_windows_are_counted_shard_by_shard(facts_of: Callable[..., dict[str, Any]]) -> None:
    facts = facts_of()
    # 25 tokens make 4 windows of 6 + 1; 6 tokens of the other shard make none.
    found = {name: facts[f"train {name}"] for name in ("shards", "documents", "tokens", "windows")}
    assert found == {"shards": 2, "documents": 4, "tokens": 31, "windows": 4}
    assert "validation tokens" not in facts


def test_steps_rows_tokens_and_epochs_follow_from_the_batch(facts_of: Callable[..., dict[str, Any]]) -> None:
    facts = facts_of(batch={"global": 3}, train={"steps": 10})
    assert (facts["rows per step"], facts["rows in all"], facts["tokens per step"]) == (3, 30, 18)
    assert facts["epochs"] == 7.5


def test_held_out_data_are_counted_too(facts_of: Any) -> None:
    facts = facts_of(data={"validation": facts_of.validation})
    assert (facts["validation tokens"], facts["validation windows"]) == (13, 3)


def test_the_run_folder_is_new_until_it_exists_and_checking_does_not_make_it(facts_of: Any, tmp_path: Path) -> None:
    assert facts_of()["run folder"] == f"{tmp_path / 'run'} (new)"
    assert facts_of()["run folder"] == f"{tmp_path / 'run'} (new)"
    (tmp_path / "run").mkdir()
    assert facts_of()["run folder"] == f"{tmp_path / 'run'} (exists)"


def test_missing_and_damaged_shards_are_user_errors(facts_of: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such shard"):
        facts_of(data={"train": {"shards": str(tmp_path / "none-*.tar")}})
    (tmp_path / "train-1.tar").write_bytes(b"short")
    with pytest.raises(DataError, match="truncated or replaced"):
        facts_of()


@pytest.mark.parametrize("tied_head", [True, False])
def test_parameters_are_those_of_the_objective_that_would_be_trained(recipe_of: RecipeOf, tied_head: bool) -> None:
    recipe = recipe_of(objective={"kind": "causal_lm", "tied_head": tied_head})
    built = build_objective(recipe.objective, recipe.model)
    assert num_parameters(recipe) == sum(item.numel() for item in built.parameters())


def test_parameters_are_counted_without_memory(recipe_of: RecipeOf) -> None:
    assert num_parameters(recipe_of(model={"embedder": {"vocab_size": 10**9}, "dim": 1000})) > 10**12
    assert torch.empty(1).device.type == "cpu"


def test_edits_say_what_they_would_load_freeze_and_adapt(
    facts_of: Callable[..., dict[str, Any]], recipe_of: RecipeOf, tmp_path: Path
) -> None:
    recipe = recipe_of(tmp_path / "run")
    plain = build_objective(recipe.objective, recipe.model)
    save_file(dict(plain.named_parameters()), tmp_path / "plain.safetensors")
    surgery = [
        {"kind": "load", "path": str(tmp_path / "plain.safetensors")},
        {"kind": "freeze", "select": ["**", "!**@norm"]},
        {"kind": "lora", "select": "**.mixer.[qv]*", "rank": 2, "alpha": 4.0},
        {"kind": "zero_init", "select": "**.feed_forward.down.weight"},
    ]
    changes = {"model": {"num_layers": 1}, "surgery": surgery}
    facts = facts_of(**changes)
    number = len(list(plain.named_parameters()))
    assert facts["surgery[0] load"] == f"{tmp_path / 'plain.safetensors'}: {number} of {number} parameters loaded"
    block = "transformer.blocks.*"
    assert facts["surgery[1] freeze"].startswith(f"{number - 3}: transformer.embedder.tokens.weight, {block}.mixer.")
    assert "norm" not in facts["surgery[1] freeze"]
    assert facts["surgery[2] lora"] == f"2: {block}.mixer.query, {block}.mixer.value"
    assert facts["surgery[3] zero_init"] == f"1: {block}.feed_forward.down.weight"
    assert facts["frozen in the end"] == facts["surgery[1] freeze"]
    # A run that has a checkpoint never opens the file again.
    (tmp_path / "plain.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"plain\.safetensors: expected"):
        facts_of(**changes)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert facts_of(**changes)["surgery[0] load"] == "nothing: the run has a checkpoint"


def test_numbers_in_names_stand_for_one_another() -> None:
    names = ["head.bias", *(f"blocks.{number}.norm.weight" for number in range(12)), "norm2.weight", "parts.7"]
    assert summarised(names) == "head.bias, blocks.*.norm.weight (12), norm2.weight, parts.*"
