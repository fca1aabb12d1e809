"""A run as a Hugging Face folder: config.json, safetensors, tokenizer. Needs no transformers.

polytrain export runs/quickstart exported
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor

from configs.errors import ConfigError
from data.text.tokenizer import load_tokenizer
from model.interop.families import exported, family_of
from model.interop.family import Description
from model.options import LMHeadOptions
from model.surgery.lora import merged_weights
from train.checkpoint import Checkpoint
from train.objectives.objective import build_objective
from train.objectives.options import CausalLMOptions
from train.recipe import Recipe, recipe_of_run
from train.run_folder import RunFolder
from train.weights import open_checkpoint


def export(run: Path, output: Path, *, step: int | None, dtype: Literal["float32", "bfloat16"]) -> str:
    """Write the newest checkpoint of `run` (or that of `step`) to `output`; returns the class that loads it.

    The folder appears complete or not at all.

    Raises:
        UserError: when there is no such run or checkpoint, no family computes the model, or `output` exists.
    """
    recipe = recipe_of_run(run)
    if not isinstance(recipe.objective, CausalLMOptions):
        raise ConfigError(f"{run}: objective {recipe.objective.kind} has no Hugging Face class to export to.")
    description = Description(recipe.model, LMHeadOptions(tied=recipe.objective.tied_head))
    family = family_of(description)
    folder = RunFolder(run)
    weights = _plain_weights(recipe, open_checkpoint(folder, step))
    if output.exists():
        raise ConfigError(f"{output}: exists. Choose a folder that does not, or remove it.")
    partial = output.with_name(output.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        config = family.config(description) | {"dtype": dtype}
        (architecture,) = config["architectures"]
        config |= _write_tokenizer(folder, partial, recipe)
        (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        tensors = {
            name: tensor.to(getattr(torch, dtype)) for name, tensor in exported(weights, family, architecture).items()
        }
        save_torch_state_dict(tensors, partial)
        os.rename(partial, output)
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error}") from None
    return str(architecture)


def _plain_weights(recipe: Recipe, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The weights of a model that the recipe's `model:` describes: adapters are merged.

    Raises:
        ConfigError: when edits left what such a model cannot have.
    """
    with torch.device("meta"):
        operated = build_objective(recipe.objective, recipe.model, recipe.surgery)
        plain = build_objective(recipe.objective, recipe.model)
    weights = merged_weights(checkpoint.weights(), operated)
    added = weights.keys() - dict(plain.named_parameters()).keys()
    if added:
        raise ConfigError(f"surgery: no Hugging Face class has {', '.join(sorted(added))}.")
    return weights


def _write_tokenizer(folder: RunFolder, output: Path, recipe: Recipe) -> dict[str, object]:
    """Copy the run's tokenizer; returns the special token ids for config.json."""
    if not folder.tokenizer.exists():
        return {}
    shutil.copyfile(folder.tokenizer, output / "tokenizer.json")
    end_of_text = recipe.data.end_of_text
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end_of_text,
        "eos_token": end_of_text,
        "model_max_length": recipe.model.embedder.longest,
        "clean_up_tokenization_spaces": False,
    }
    (output / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    end = load_tokenizer(folder.tokenizer, end_of_text=end_of_text).token_to_id(end_of_text)
    return {"bos_token_id": end, "eos_token_id": end}
