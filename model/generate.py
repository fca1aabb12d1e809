"""Writing tokens one after another: a transformer with its state, and draws from next-token logits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.tokens import Tokens
from model.transformer import DecodingState, Transformer


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. `temperature=0` takes the likeliest. Conditions are met together."""

    temperature: float = 0.8
    top_k: int | None = None
    "Keep only the k likeliest tokens (Fan et al. 2018)."
    top_p: float | None = None
    "Keep the likeliest tokens up to this total probability (Holtzman et al. 2020)."
    min_p: float | None = None
    "Keep only tokens with this share of the probability of the likeliest (Nguyen et al. 2025)."


@torch.no_grad()
def generate(
    model: Transformer,
    head: Callable[[Tensor], Tensor],
    prompts: Sequence[Tensor],
    *,
    num_tokens: int,
    max_length: int,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    stop_tokens: Collection[int] = (),
    memory: Tokens | None = None,
) -> list[Tensor]:
    """Continue every prompt by up to `num_tokens` tokens; returns the new tokens only, int64 [num] per prompt.

    A row does not depend on the others beside it. Beyond `max_length` the older tokens are forgotten: the model then
    reads the last `max_length` tokens anew for every further token, because all their positions have changed.

    Args:
        model: a causal model of token ids, in evaluation mode.
        head: hidden states [B, 1, D] -> logits [B, 1, V].
        prompts: of each row, at least one token id; they may differ in length.
        num_tokens: how many to draw at most.
        max_length: longest sequence the model takes (tokens).
        sampling: how to draw.
        generators: the source of randomness of each row (CPU).
        stop_tokens: a row ends after drawing one of these.
        memory: the output of an encoder, row by row, for cross-attention.

    Raises:
        ValueError: where tokens see later ones, so that they cannot be written one by one.
    """
    texts = [prompt.tolist() for prompt in prompts]
    open_rows = set(range(len(texts)))
    state: DecodingState | None = None
    for _ in range(num_tokens):
        if any(len(texts[row]) > max_length for row in open_rows):
            state = None
        first = 0 if state is None else -1
        # A row that has ended is padding from then on.
        fresh = [text[-max_length:][first:] if row in open_rows else [] for row, text in enumerate(texts)]
        seen = [0 if state is None else len(text) - 1 for text in texts]
        tokens = _embedded(model, fresh, seen, max_length, prompts[0].device)
        if state is None:
            state = model.start(len(texts), tokens.x.device, tokens.x.dtype, memory)
        hidden, state = model.step(tokens, state)
        logits_BV = head(_last(hidden.x, fresh))[:, 0].float().cpu()
        for row in sorted(open_rows):
            token = int(draw(logits_BV[row], sampling, generators[row]))
            texts[row].append(token)
            if token in stop_tokens:
                open_rows.remove(row)
        if not open_rows:
            break
    return [torch.tensor(text[len(prompt) :], dtype=torch.long) for text, prompt in zip(texts, prompts, strict=True)]


def _embedded(
    model: Transformer, fresh: Sequence[Sequence[int]], seen: Sequence[int], max_length: int, device: torch.device
) -> Tokens:
    """The new tokens of every row, those of row b behind `seen[b]` others, padded on the right to the longest."""
    length = max(map(len, fresh))
    ids_BT = torch.tensor([[*row, *[0] * (length - len(row))] for row in fresh], device=device)
    place_T = torch.arange(length, device=device)
    # Padding has no place of its own, but a table of positions has to have the one it is given.
    positions_BT = (torch.tensor(seen, device=device)[:, None] + place_T).clamp(max=max_length - 1)
    is_text_BT = place_T < torch.tensor([len(row) for row in fresh], device=device)[:, None]
    return replace(model.embed(ids_BT, positions_BT=positions_BT), segments=is_text_BT.long() - 1)


def _last(x_BTD: Tensor, fresh: Sequence[Sequence[int]]) -> Tensor:
    """The hidden state of each row's last token [B, 1, D]; of rows without one, any."""
    last_B = torch.tensor([max(len(row), 1) - 1 for row in fresh], device=x_BTD.device)
    return x_BTD.gather(1, last_B[:, None, None].expand(-1, 1, x_BTD.shape[-1]))


def draw(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One token id, as a tensor of one element."""
    if sampling.temperature == 0:
        return logits_V.argmax(keepdim=True)
    probabilities_V = (logits_V / sampling.temperature).softmax(-1)
    sorted_V, order_V = probabilities_V.sort(descending=True, stable=True)
    likeliest = sorted_V[0].clone()
    if sampling.top_k is not None:
        sorted_V[sampling.top_k :] = 0
    if sampling.top_p is not None:
        # A token stays while the tokens before it have not reached top_p; the first always stays.
        sorted_V[sorted_V.cumsum(-1) - sorted_V >= sampling.top_p] = 0
    if sampling.min_p is not None:
        sorted_V[sorted_V < sampling.min_p * likeliest] = 0
    return order_V[torch.multinomial(sorted_V, 1, generator=generator)]
