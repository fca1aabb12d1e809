"""Sampling text from next-token logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. `temperature=0` takes the likeliest."""

    temperature: float = 0.8
    top_k: int | None = None
    "Keep only the k likeliest tokens (Fan et al. 2018)."
    top_p: float | None = None
    "Keep the likeliest tokens up to this total probability (Holtzman et al. 2020)."


@torch.no_grad()
def generate(
    logits_of: Callable[[Tensor], Tensor],
    prompt_T: Tensor,
    *,
    num_tokens: int,
    max_length: int,
    sampling: Sampling,
    generator: torch.Generator,
    stop_token: int | None = None,
) -> Tensor:
    """Continue one prompt by up to `num_tokens` tokens; returns the new tokens only.

    Args:
        logits_of: token ids [1, T] -> logits [1, T, V].
        prompt_T: at least one token id.
        num_tokens: how many to draw at most.
        max_length: longest sequence the model takes; older tokens are forgotten beyond it.
        sampling: how to draw.
        generator: the source of randomness (CPU).
        stop_token: stop after drawing this one.
    """
    tokens_T = prompt_T
    for _ in range(num_tokens):
        logits_V = logits_of(tokens_T[None, -max_length:])[0, -1].float().cpu()
        token = draw(logits_V, sampling, generator)
        tokens_T = torch.cat((tokens_T, token.to(tokens_T)))
        if stop_token is not None and int(token) == stop_token:
            break
    return tokens_T[len(prompt_T) :]


def draw(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One token id, as a tensor of one element."""
    if sampling.temperature == 0:
        return logits_V.argmax(keepdim=True)
    probabilities_V = (logits_V / sampling.temperature).softmax(-1)
    sorted_V, order_V = probabilities_V.sort(descending=True, stable=True)
    if sampling.top_k is not None:
        sorted_V[sampling.top_k :] = 0
    if sampling.top_p is not None:
        # A token stays while the tokens before it have not reached top_p; the first always stays.
        sorted_V[sorted_V.cumsum(-1) - sorted_V >= sampling.top_p] = 0
    return order_V[torch.multinomial(sorted_V, 1, generator=generator)]
