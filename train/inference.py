"""A trained model, taken from a run folder into one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from tokenizers import Tokenizer

from configs.errors import ConfigError
from configs.seeds import derive
from data.text.tokenizer import load_tokenizer
from model.generate import Sampling, generate
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

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the run."""
        if not self.folder.tokenizer.exists():
            raise ConfigError(f"{self.folder.path}: has no tokenizer.json; its recipe names no data.tokenizer.")
        return load_tokenizer(self.folder.tokenizer, end_of_text=self.recipe.data.end_of_text)

    def continue_text(self, prompt: str, num_tokens: int, sampling: Sampling, seed: int) -> str:
        """What the model writes after `prompt`."""
        return self.continue_texts([prompt], num_tokens, sampling, seed)[0]

    def continue_texts(self, prompts: Sequence[str], num_tokens: int, sampling: Sampling, seed: int) -> list[str]:
        """What the model writes after each prompt, whatever the others are."""
        if not isinstance(self.objective, CausalLM):
            raise ConfigError(f"{self.folder.path}: objective {self.recipe.objective.kind} does not write text.")
        tokenizer = self.tokenizer()
        end = tokenizer.token_to_id(self.recipe.data.end_of_text)
        written = generate(
            self.objective.transformer,
            self.objective.predict,
            [torch.tensor(tokenizer.encode(prompt, add_special_tokens=False).ids or [end]) for prompt in prompts],
            num_tokens=num_tokens,
            max_length=longest_of(self.recipe.model),
            sampling=sampling,
            generators=[torch.Generator().manual_seed(derive(seed, "generate")) for _ in prompts],
            stop_token=end,
        )
        return [str(tokenizer.decode(tokens.tolist())) for tokens in written]
