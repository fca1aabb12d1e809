"""A trained or imported model, taken from its folder into one process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor

from configs.errors import CheckpointError, ConfigError
from configs.seeds import derive
from data.text.tokenizer import load_tokenizer, read_tokenizer
from model.embedders.options import TextOptions
from model.generate import Sampling, generate
from model.interop.described import DescribedModel
from model.interop.family import Description
from model.interop.model_folder import ModelFolder
from model.options import LMHeadOptions, TransformerOptions
from model.transformer import Transformer
from train.objectives.causal_lm import CausalLM, longest_of
from train.objectives.objective import Objective, build_objective
from train.recipe import Recipe, recipe_of_run
from train.run_folder import RunFolder
from train.weights import open_checkpoint


@dataclass(frozen=True)
class TrainedModel:
    """An objective with the weights of a checkpoint, in evaluation mode on the CPU."""

    recipe: Recipe
    objective: Objective
    folder: RunFolder
    step: int

    @classmethod
    def of_run(cls, run: Path, step: int | None = None) -> Self:
        """Load the newest intact checkpoint of a run, or that of `step`.

        Raises:
            UserError: when there is no such run or checkpoint.
        """
        recipe = recipe_of_run(run)
        folder = RunFolder(run)
        checkpoint = open_checkpoint(folder, step)
        with torch.device("meta"):
            objective = build_objective(recipe.objective, recipe.model, recipe.surgery)
        checkpoint.require_shapes({name: tuple(item.shape) for name, item in objective.named_parameters()})
        objective.load_state_dict(checkpoint.weights(), assign=True)
        return cls(recipe, objective.eval(), folder, checkpoint.step)

    def writer(self) -> Writer:
        """What continues texts.

        Raises:
            ConfigError: when the objective is another than to write text, or the run has no tokenizer.
        """
        if not isinstance(self.objective, CausalLM):
            raise ConfigError(f"{self.folder.path}: objective {self.recipe.objective.kind} does not write text.")
        if not self.folder.tokenizer.exists():
            raise ConfigError(f"{self.folder.path}: has no tokenizer.json; its recipe names no data.tokenizer.")
        end_of_text = self.recipe.data.end_of_text
        tokenizer = load_tokenizer(self.folder.tokenizer, end_of_text=end_of_text)
        end = tokenizer.token_to_id(end_of_text)
        assert end is not None, "loading it checks that"
        return Writer(
            transformer=self.objective.transformer,
            predict=self.objective.predict,
            max_length=longest_of(self.recipe.model),
            encode=lambda prompt: tokenizer.encode(prompt, add_special_tokens=False).ids or [end],
            decode=tokenizer.decode,
            stop_tokens=[end],
        )


@dataclass(frozen=True)
class Writer:
    """A model that continues texts, and its tokenizer."""

    transformer: Transformer
    predict: Callable[[Tensor], Tensor]
    "Hidden states -> next-token logits."
    max_length: int
    "Longest text (tokens) that the model takes."
    encode: Callable[[str], list[int]]
    "A prompt -> at least one token."
    decode: Callable[[list[int]], str]
    stop_tokens: Collection[int]
    "What ends a text."

    def continue_texts(self, prompts: Sequence[str], num_tokens: int, sampling: Sampling, seed: int) -> list[str]:
        """What the model writes after each prompt, whatever the others are."""
        written = generate(
            self.transformer,
            self.predict,
            [torch.tensor(self.encode(prompt)) for prompt in prompts],
            num_tokens=num_tokens,
            max_length=self.max_length,
            sampling=sampling,
            generators=[torch.Generator().manual_seed(derive(seed, "generate")) for _ in prompts],
            stop_tokens=self.stop_tokens,
        )
        return [self.decode(tokens.tolist()) for tokens in written]


def writer_of(path: Path, step: int | None = None) -> Writer:
    """What continues texts by the model in `path`, in float32 on the CPU.

    Args:
        path: a run folder, or one that `polytrain import` made.
        step: of a run: the checkpoint to use; default: the newest.

    Raises:
        UserError: when there is no such model, or it does not write text.
    """
    if not ModelFolder.is_one(path):
        return TrainedModel.of_run(path, step).writer()
    if step is not None:
        raise ConfigError(f"--step {step}: {path} is an imported model, which has no checkpoints.")
    folder = ModelFolder.read(path)
    _require_causal(folder.description, path)
    if not (path / "tokenizer.json").is_file():
        raise ConfigError(
            f"{path}: has no tokenizer.json, because the folder it was imported from had none. Put one there; "
            "transformers.AutoTokenizer.from_pretrained(...).save_pretrained(...) writes it."
        )
    with torch.device("meta"):
        model = DescribedModel(folder.description)
    weights = {name: tensor.float() for name, tensor in folder.weights.items()}
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: model.yaml and model.safetensors do not fit: {error}") from None
    transformer = cast(Transformer, model.eval().transformer)
    num_entries = cast(TextOptions, transformer.options.embedder).vocab_size
    tokenizer = read_tokenizer(path / "tokenizer.json")
    start, stop = (_ids(folder.special_tokens.get(f"{name}_token_id")) for name in ("bos", "eos"))

    def encode(prompt: str) -> list[int]:
        # With what the tokenizer puts in front of a text, as transformers does.
        tokens: list[int] = tokenizer.encode(prompt).ids or (start or stop)[:1]
        if not tokens:
            raise ConfigError(f"{path}: an empty prompt needs a token to start from; model.yaml names no bos_token_id.")
        if max(tokens) >= num_entries:
            raise ConfigError(f"{path}: token {max(tokens)} is not in the model's vocabulary of {num_entries} entries.")
        return tokens

    return Writer(
        transformer=transformer,
        predict=lambda x_BTD: model.head(x_BTD, transformer.embedder.tokens),
        max_length=longest_of(transformer.options),
        encode=encode,
        decode=tokenizer.decode,
        stop_tokens=stop,
    )


def _require_causal(description: Description[Any], path: Path) -> None:
    model, head = description.model, description.head
    reason = None
    if not isinstance(model, TransformerOptions):
        reason = f"model.kind is {model.kind}, and only a single causal transformer does"
    elif not isinstance(model.embedder, TextOptions):
        reason = f"model.embedder is {model.embedder.kind}, so it does not read text"
    elif not model.is_causal:
        reason = f"model.visibility is {model.visibility}, so its tokens see what comes later"
    elif not isinstance(head, LMHeadOptions):
        reason = "it has no head of tokens; import the folder of a class with one (...ForCausalLM)"
    if reason is not None:
        raise ConfigError(f"{path}: does not write text: {reason}.")


def _ids(token: int | list[int] | None) -> list[int]:
    """Of config.json: a token id, several, or none."""
    return [] if token is None else [token] if isinstance(token, int) else list(token)
