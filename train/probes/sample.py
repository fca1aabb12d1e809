"""Text that the model writes, to look at."""

from __future__ import annotations

from typing import cast

import torch

from configs.seeds import derive
from data.text.tokenizer import load_tokenizer
from model.generate import Sampling, generate
from train.objectives.causal_lm import CausalLM, longest_of
from train.probes.options import SampleProbeOptions
from train.probes.probe import Figures, ProbeContext


class SampleProbe:
    """One continuation of the prompt, from a generator keyed by the seed: the same on every rank."""

    def __init__(self, options: SampleProbeOptions, context: ProbeContext) -> None:
        self._options = options
        self._context = context
        data = context.recipe.data
        assert data.tokenizer is not None
        self._tokenizer = load_tokenizer(data.tokenizer, end_of_text=data.end_of_text)

    def measure(self, step: int) -> Figures:
        """The prompt and what follows."""
        options, context = self._options, self._context
        objective = cast(CausalLM, context.engine.objective)
        prompt = self._tokenizer.encode(options.prompt, add_special_tokens=False).ids
        end = self._tokenizer.token_to_id(context.recipe.data.end_of_text)
        assert end is not None, "loading the tokenizer checks that"
        device = context.world.device
        with context.engine.evaluating():
            (written,) = generate(
                objective.transformer,
                objective.predict,
                [torch.tensor(prompt or [end], device=device)],
                num_tokens=options.num_tokens,
                max_length=longest_of(context.recipe.model),
                sampling=Sampling(options.temperature, top_p=options.top_p),
                generators=[torch.Generator().manual_seed(derive(context.recipe.seed, "sample", step))],
                stop_tokens=[end],
            )
        return {"prompt": options.prompt, "text": self._tokenizer.decode(written.tolist())}
