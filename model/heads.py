"""What turns hidden states into predictions. Objectives choose one; imported models bring theirs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.embedders.text import TokenEmbedding
from model.feed_forward import ACTIVATIONS
from model.options import LMHeadOptions, PoolerOptions, ReplacedTokenOptions, SentencePairOptions
from model.tokens import Tokens

_OF_POOLERS = {"tanh": torch.tanh, "relu": ACTIVATIONS["relu"], "gelu": ACTIVATIONS["gelu"]}


class LMHead(nn.Module):
    """Logits [B, T, V] of hidden states [B, T, D]."""

    def __init__(self, options: LMHeadOptions, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.options = options
        width = options.width or dim
        if options.transform is not None:
            self.dense = nn.Linear(dim, width, bias=options.transform_bias)
            if options.transform_norm:
                bias = options.transform_bias if options.transform_norm_bias is None else options.transform_norm_bias
                self.norm = nn.LayerNorm(width, eps=options.norm_eps, bias=bias)
        if not options.tied:
            self.output = nn.Linear(width, vocab_size, bias=False)
        if options.bias:
            self.bias = Bias(vocab_size)

    def forward(self, x_BTD: Tensor, embedding: TokenEmbedding) -> Tensor:
        """The logits; `embedding` is the output matrix of a tied head."""
        options = self.options
        if options.transform is not None:
            x_BTD = ACTIVATIONS[options.transform](self.dense(x_BTD))
            if options.transform_norm:
                x_BTD = self.norm(x_BTD)
        if options.scale != 1.0:
            x_BTD = x_BTD * options.scale
        logits_BTV = embedding(x_BTD, as_head=True) if options.tied else self.output(x_BTD)
        return self.bias(logits_BTV) if options.bias else logits_BTV  # type: ignore[no-any-return]


class Pooler(nn.Module):
    """One vector [B, width] for every row of hidden states."""

    def __init__(self, options: PoolerOptions, dim: int) -> None:
        super().__init__()
        self.options = options
        if options.norm:
            self.norm = nn.LayerNorm(dim, eps=options.norm_eps)
        if options.activation is not None:
            self.dense = nn.Linear(dim, options.width or dim)

    def forward(self, hidden: Tokens) -> Tensor:
        """The vectors."""
        x_BD = hidden.x[:, 0] if self.options.pool == "first" else hidden.body.mean(1)
        if self.options.norm:
            x_BD = self.norm(x_BD)
        if self.options.activation is None:
            return x_BD
        return _OF_POOLERS[self.options.activation](self.dense(x_BD))


class ReplacedTokenHead(nn.Module):
    """Logits [B, T] that tokens were replaced."""

    def __init__(self, options: ReplacedTokenOptions, dim: int) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[options.transform]
        self.dense = nn.Linear(dim, dim)
        self.score = nn.Linear(dim, 1)

    def forward(self, hidden: Tokens) -> Tensor:
        """The logits."""
        return self.score(self._activation(self.dense(hidden.x))).squeeze(-1)  # type: ignore[no-any-return]


class SentencePairHead(nn.Module):
    """Logits of all tokens [B, T, V], and of the classes "follows" and "does not" [B, 2]."""

    def __init__(self, options: SentencePairOptions, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.tokens = LMHead(options.tokens, dim, vocab_size)
        self.pooler = Pooler(PoolerOptions(), dim)
        self.relation = nn.Linear(dim, 2)

    def forward(self, hidden: Tokens, embedding: TokenEmbedding) -> tuple[Tensor, Tensor]:
        """Both; `embedding` is the output matrix of a tied head."""
        return self.tokens(hidden.x, embedding), self.relation(self.pooler(hidden))


class Bias(nn.Module):
    """Adds a learned vector to the last dimension."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Add it."""
        return x + self.bias
