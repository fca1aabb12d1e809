"""A run, or an imported model, as a Hugging Face folder: config.json, safetensors, tokenizer. Needs no transformers.

polytrain export runs/quickstart exported
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor

from configs.errors import ConfigError
from configs.files import new_folder
from data.text.tokenizer import load_tokenizer
from model.interop.families import exported, family_of
from model.interop.family import Description
from model.interop.importing import usual_dtype
from model.interop.model_folder import ModelFolder, copy_tokenizer
from model.options import AnyHead, LMHeadOptions, TransformerOptions
from model.surgery.lora import merged_weights
from train.checkpoint import Checkpoint
from train.objectives.objective import build_objective
from train.objectives.options import CausalLMOptions, MaskedAutoencoderOptions, Wav2Vec2Options
from train.recipe import Recipe, recipe_of_run
from train.run_folder import RunFolder
from train.weights import open_checkpoint

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class _Model:
    """What is exported."""

    description: Description[Any]
    weights: Mapping[str, Tensor]
    write_tokenizer: Callable[[Path], dict[str, Any]]
    "Writes its files into a folder; returns keys for config.json."


def export(source: Path, output: Path, *, step: int | None, dtype: Precision | None) -> str:
    """Write a model to `output`; returns the class that loads it. The folder appears complete or not at all.

    Args:
        source: a run folder, of which the newest checkpoint (or that of `step`) is taken; or an imported folder.
        output: the folder to create.
        step: of a run.
        dtype: of the weights. None: float32 for a run, as they are for an imported folder.

    Raises:
        UserError: when there is no such model, no family computes it, or `output` exists.
    """
    model = _of_folder(source, step) if ModelFolder.is_one(source) else _of_run(source, step)
    family = family_of(model.description)
    config = family.config(model.description)
    (architecture,) = config["architectures"]
    weights = exported(model.weights, family, architecture) | family.computed(model.description)
    if dtype is not None:
        weights = {name: tensor.to(getattr(torch, dtype)) for name, tensor in weights.items()}
    config["dtype"] = dtype or str(usual_dtype(weights.values())).removeprefix("torch.")
    with new_folder(output) as folder:
        config |= model.write_tokenizer(folder)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_torch_state_dict(weights, folder)
    return str(architecture)


def _of_folder(path: Path, step: int | None) -> _Model:
    if step is not None:
        raise ConfigError(f"--step {step}: {path} is an imported model, which has no checkpoints.")
    folder = ModelFolder.read(path)

    def write_tokenizer(target: Path) -> dict[str, Any]:
        copy_tokenizer(path, target)
        return dict(folder.special_tokens)

    return _Model(folder.description, folder.weights, write_tokenizer)


def _of_run(run: Path, step: int | None) -> _Model:
    recipe = recipe_of_run(run)
    description = Description(recipe.model, _head(recipe))
    folder = RunFolder(run)
    weights = _plain_weights(recipe, open_checkpoint(folder, step))
    return _Model(description, weights, lambda target: _write_tokenizer(folder, target, recipe))


def _head(recipe: Recipe) -> AnyHead:
    """The head that the objective trains with the model."""
    objective = recipe.objective
    if isinstance(objective, CausalLMOptions):
        return LMHeadOptions(tied=objective.tied_head)  # its scale goes into the final norm
    if isinstance(objective, MaskedAutoencoderOptions):
        return objective.decoder
    if isinstance(objective, Wav2Vec2Options):
        return objective.head
    raise ConfigError(f"{recipe.run}: objective {objective.kind} has no Hugging Face class to export to.")


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
    return with_plain_head(weights, recipe)


def with_plain_head(weights: dict[str, Tensor], recipe: Recipe) -> dict[str, Tensor]:
    """The head's factor of the hidden states (`init.base_dim`) moved into the norm before it: transformers has none."""
    if not isinstance(recipe.model, TransformerOptions) or recipe.model.width_multiplier == 1:
        return weights
    if not recipe.model.has_final_norm:
        raise ConfigError("model.init.base_dim: without a final norm, no Hugging Face class has the head's factor.")
    norm = {name for name in weights if name.startswith("transformer.norm.")}
    factor = 1 / recipe.model.width_multiplier
    return {name: value * factor if name in norm else value for name, value in weights.items()}


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
