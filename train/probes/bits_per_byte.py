"""Bits of held-out text per byte: a loss that compares across tokenizers, beside that of a unigram coder."""

from __future__ import annotations

import math
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from configs.errors import ConfigError
from data.cache import storage_of
from data.loader import Batch, evaluation_batches
from data.sources import build_source
from data.text.tokenizer import bytes_of_tokens, load_tokenizer
from model.cross_entropy import IGNORED
from train.objectives.causal_lm import CausalLM
from train.probes.loss import LossProbe
from train.probes.options import BitsPerByteProbeOptions
from train.probes.probe import Figures, ProbeContext


class BitsPerByteProbe(LossProbe):
    """Bits per byte = nats / ln 2 / bytes of the predicted tokens (Gao et al. 2020, section 3.1)."""

    def __init__(self, options: BitsPerByteProbeOptions, context: ProbeContext) -> None:
        if not isinstance(context.engine.objective, CausalLM):
            kind = context.recipe.objective.kind
            raise ConfigError(f"probe bits_per_byte: objective {kind} does not predict text.")
        super().__init__(options, context)
        self._unigram_rows = options.unigram_rows
        data = context.recipe.data
        assert data.tokenizer is not None
        tokenizer = load_tokenizer(data.tokenizer, end_of_text=data.end_of_text)
        self._bytes_V = torch.tensor(bytes_of_tokens(tokenizer))

    def measure(self, step: int) -> Figures:
        """Bits per byte of the model and of the coder, on the same samples."""
        nats, unigram_nats, num_bytes = 0.0, 0.0, 0
        for batch, is_mine in self.batches():
            sums = self.context.engine.evaluate(batch)
            if is_mine:
                targets_N = self._targets(batch)
                nats += float(sums["loss"])
                unigram_nats += float(self._unigram_V[targets_N].sum())
                num_bytes += int(self._bytes_V[targets_N].sum())
        nats, unigram_nats = self.context.world.sum_float([nats, unigram_nats])
        (num_bytes,) = self.context.world.sum([num_bytes])
        bits = math.log(2) * num_bytes
        return {"bits_per_byte": nats / bits, "unigram_bits_per_byte": unigram_nats / bits, "bytes": num_bytes}

    @cached_property
    def _unigram_V(self) -> Tensor:  # noqa: N802
        """Nats of each token under its share of the training tokens, every token counted once more (Laplace)."""
        context = self.context
        source = build_source(context.recipe.data.train, storage_of(context.recipe.data.cache))
        counts_V = torch.ones(len(self._bytes_V), dtype=torch.float64)
        rows = self._unigram_rows
        for batch, _, _ in evaluation_batches(source, rows=rows, micro_rows=64, rank=0, world_size=1):
            counts_V += torch.bincount(self._targets(batch), minlength=len(counts_V))
        return -(counts_V / counts_V.sum()).log()

    def _targets(self, batch: Batch) -> Tensor:
        targets_BT = cast(CausalLM, self.context.engine.objective).targets(batch)
        return targets_BT[targets_BT != IGNORED]
