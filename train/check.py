"""What a recipe would train, without training it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from configs.options import Part
from data.cache import storage_of
from data.shards import open_shards
from data.sources import AnySource, build_source, plain_sources
from data.text.options import TokenWindowsOptions
from train.epochs import epochs_of_run, require_epochs
from train.recipe import Recipe
from train.surgery_facts import surgery_facts


def summary(recipe: Recipe) -> dict[str, Any]:
    """Parameters, tokens and samples, as far as they are known.

    Raises:
        DataError: when shards or their indexes are missing or damaged.
        ConfigError: when the run would draw more epochs than data.order.epochs.
    """
    facts: dict[str, Any] = {"parameters": num_parameters(recipe), "rows per step": recipe.batch.global_}
    facts |= surgery_facts(recipe)
    facts["rows in all"] = recipe.batch.global_ * recipe.train.steps
    for split in ("train", "validation"):
        source = getattr(recipe.data, split)
        if source is not None:
            facts |= {f"{split} {name}": value for name, value in _source_facts(source).items()}
    source = build_source(recipe.data.train, storage_of(recipe.data.cache))
    require_epochs(recipe, source)
    for draws in epochs_of_run(recipe, source):
        facts[f"epochs of {draws.name}" if draws.name else "epochs"] = round(draws.epochs, 3)
    if isinstance(recipe.data.train, TokenWindowsOptions):
        facts["tokens per step"] = recipe.batch.global_ * recipe.data.train.length
    facts["run folder"] = f"{recipe.run} ({'exists' if Path(recipe.run).exists() else 'new'})"
    return facts


def num_parameters(recipe: Recipe) -> int:
    """Trainable numbers: counted in the objective, built without memory for them."""
    import torch

    from train.objectives.objective import build_objective

    with torch.device("meta"):
        objective = build_objective(recipe.objective, recipe.model, recipe.surgery)
    return sum(parameter.numel() for parameter in objective.parameters() if parameter.requires_grad)


def _source_facts(options: AnySource) -> dict[str, Any]:
    facts = [_plain_facts(source) for source in plain_sources(options).values()]
    names = dict.fromkeys(name for found in facts for name in found)
    return {name: sum(found.get(name, 0) for found in facts) for name in names}


def _plain_facts(source: Part) -> dict[str, int]:
    if not isinstance(source, TokenWindowsOptions):
        return {}
    indexes = [shard.index for shard in open_shards(source.shards)]
    return {
        "shards": len(indexes),
        "documents": sum(len(index) for index in indexes),
        "tokens": sum(index.length for index in indexes),
        "windows": sum(max(0, index.length - 1) // source.length for index in indexes),
    }
