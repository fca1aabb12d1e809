"""Who may see whom. A rule has one definition, `allowed(query, key)`; `&` and `|` combine rules.

The definition is what a rule means. `dense_mask` evaluates it for every pair; a backend may use a
shorter form (a causal flag, blocks, variable lengths) only where it means the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Where tokens stand. The first two broadcast against [B, T]."""

    index: Tensor
    "Place in the row."
    segment: Tensor | None = None
    "Number of the document within the row; below 0 for padding."
    split: Tensor | None = None
    "[B]: how many leading tokens are the prefix or the context."


class Visibility:
    """A rule: may the token at `query` see the token at `key`?"""

    def allowed(self, query: Places, key: Places) -> Tensor:
        """Boolean tensor, broadcast over the places of both."""
        raise NotImplementedError

    def __and__(self, other: Visibility) -> Visibility:
        return Both(self, other)

    def __or__(self, other: Visibility) -> Visibility:
        return Either(self, other)


@dataclass(frozen=True)
class Everything(Visibility):
    """Every token."""

    def allowed(self, query: Places, key: Places) -> Tensor:
        return torch.ones_like(query.index == key.index)


@dataclass(frozen=True)
class Causal(Visibility):
    """Itself and everything earlier."""

    def allowed(self, query: Places, key: Places) -> Tensor:
        return key.index <= query.index


@dataclass(frozen=True)
class SameSegment(Visibility):
    """Only tokens of the same document. Padding (segments below 0) belongs to none: it sees and is seen by nobody."""

    def allowed(self, query: Places, key: Places) -> Tensor:
        if query.segment is None or key.segment is None:
            raise ValueError("SameSegment needs segment numbers")
        return (query.segment == key.segment) & (key.segment >= 0)


@dataclass(frozen=True)
class NotPadding(Visibility):
    """Every token but padding (segments below 0)."""

    def allowed(self, query: Places, key: Places) -> Tensor:
        if key.segment is None:
            raise ValueError("NotPadding needs segment numbers")
        return (key.segment >= 0) & (query.index == query.index)


@dataclass(frozen=True)
class Window(Visibility):
    """At most `before` places back and `after` places ahead."""

    before: int
    after: int

    def allowed(self, query: Places, key: Places) -> Tensor:
        back = query.index - key.index
        return (back <= self.before) & (-back <= self.after)


@dataclass(frozen=True)
class Dilated(Visibility):
    """Tokens at a distance that is a multiple of `step`, to either side (Child et al. 2019, strided)."""

    step: int

    def allowed(self, query: Places, key: Places) -> Tensor:
        return (query.index - key.index) % self.step == 0


@dataclass(frozen=True)
class BlockLocal(Visibility):
    """Tokens of the same block: the row is cut into blocks of `size` places."""

    size: int

    def allowed(self, query: Places, key: Places) -> Tensor:
        return query.index // self.size == key.index // self.size


@dataclass(frozen=True)
class Global(Visibility):
    """The first `count` tokens of the row: they see everyone, and everyone sees them (Beltagy et al. 2020)."""

    count: int

    def allowed(self, query: Places, key: Places) -> Tensor:
        return (query.index < self.count) | (key.index < self.count)


@dataclass(frozen=True)
class Prefix(Visibility):
    """The first `split` tokens of the row: everyone sees them."""

    def allowed(self, query: Places, key: Places) -> Tensor:
        if key.split is None:
            raise ValueError("Prefix needs a split")
        return (key.index < key.split) & (query.index == query.index)


@dataclass(frozen=True)
class Leading(Visibility):
    """The first `count` tokens of every row."""

    count: int

    def allowed(self, query: Places, key: Places) -> Tensor:
        return (key.index < self.count) & (query.index == query.index)


@dataclass(frozen=True)
class ContextOnly(Visibility):
    """The first `split` tokens (the context), and oneself: tokens behind it do not see each other."""

    def allowed(self, query: Places, key: Places) -> Tensor:
        if key.split is None:
            raise ValueError("ContextOnly needs a split")
        return (key.index < key.split) | (key.index == query.index)


@dataclass(frozen=True)
class Both(Visibility):
    """Allowed by both rules."""

    first: Visibility
    second: Visibility

    def allowed(self, query: Places, key: Places) -> Tensor:
        return self.first.allowed(query, key) & self.second.allowed(query, key)

    def __str__(self) -> str:
        return f"({self.first} & {self.second})"


@dataclass(frozen=True)
class Either(Visibility):
    """Allowed by at least one of two rules."""

    first: Visibility
    second: Visibility

    def allowed(self, query: Places, key: Places) -> Tensor:
        return self.first.allowed(query, key) | self.second.allowed(query, key)

    def __str__(self) -> str:
        return f"({self.first} | {self.second})"


def conjuncts(rule: Visibility) -> tuple[Visibility, ...]:
    """The rules that must all allow."""
    return conjuncts(rule.first) + conjuncts(rule.second) if isinstance(rule, Both) else (rule,)


def dense_mask(rule: Visibility, query: Places, key: Places) -> Tensor:
    """The rule for every pair: bool [B or 1, 1, T queries, S keys]."""
    return rule.allowed(_along(query, -1), _along(key, -2)).unsqueeze(1)


def _along(places: Places, dim: int) -> Places:
    """Places [B, T] with a new axis to broadcast over; a split [B] gets two."""
    segment = None if places.segment is None else places.segment.unsqueeze(dim)
    split = None if places.split is None else places.split.view(-1, 1, 1)
    return Places(places.index.unsqueeze(dim), segment, split)
