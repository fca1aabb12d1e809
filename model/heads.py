"""What turns hidden states into predictions. Objectives choose one; imported models bring theirs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from model.cross_entropy import output_layer
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
            self.output = OutputMatrix(width, vocab_size, bias=False)
        if options.bias:
            self.bias = OutputBias(vocab_size)

    def forward(self, x_BTD: Tensor, embedding: TokenEmbedding, targets_BT: Tensor | None = None) -> Tensor:
        """The logits; with targets (`IGNORED` where there is none), the sum of their losses in nats.

        Args:
            x_BTD: hidden states.
            embedding: the output matrix of a tied head.
            targets_BT: token ids.
        """
        options = self.options
        if options.transform is not None:
            x_BTD = ACTIVATIONS[options.transform](self.dense(x_BTD))
            if options.transform_norm:
                x_BTD = self.norm(x_BTD)
        if options.scale != 1.0:
            x_BTD = x_BTD * options.scale
        matrix = partial(embedding, as_head=True) if options.tied else self.output
        if options.bias:
            return self.bias(lambda bias_V: matrix(x_BTD, bias_V=bias_V, targets=targets_BT))  # type: ignore[no-any-return]
        return matrix(x_BTD, targets=targets_BT)  # type: ignore[no-any-return]


class OutputMatrix(nn.Linear):
    """The matrix of a head that is not tied."""

    def forward(self, x: Tensor, *, bias_V: Tensor | None = None, targets: Tensor | None = None) -> Tensor:
        """Logits [..., V] of hidden states [..., D]; with targets, the sum of their losses."""
        return output_layer(x, self.weight, bias_V, targets)


class OutputBias(nn.Module):
    """A number for every entry of the vocabulary, given to what adds it: so sharded engines gather both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, layer: Callable[[Tensor], Tensor]) -> Tensor:
        """What `layer` makes of the bias."""
        return layer(self.bias)


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
