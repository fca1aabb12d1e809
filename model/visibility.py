"""Who may see whom. A rule has one definition, `allowed(query, key)`; `&` combines rules.

The definition is what a rule means. `dense_mask` evaluates it for every pair; a backend may use a
shorter form (`is_causal`) only where it means the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Where tokens stand. Both tensors broadcast against [B, T]."""

    index: Tensor
    "Place in the sequence."
    segment: Tensor | None = None
    "Number of the document within the sequence."


class Visibility:
    """A rule: may the token at `query` see the token at `key`?"""

    def allowed(self, query: Places, key: Places) -> Tensor:
        """Boolean tensor, broadcast over the places of both."""
        raise NotImplementedError

    def __and__(self, other: Visibility) -> Visibility:
        return Both(self, other)


@dataclass(frozen=True)
class Causal(Visibility):
    """Itself and everything earlier."""

    def allowed(self, query: Places, key: Places) -> Tensor:
        return key.index <= query.index


@dataclass(frozen=True)
class SameSegment(Visibility):
    """Only tokens of the same document."""

    def allowed(self, query: Places, key: Places) -> Tensor:
        if query.segment is None or key.segment is None:
            raise ValueError("SameSegment needs segment numbers")
        return query.segment == key.segment


@dataclass(frozen=True)
class Both(Visibility):
    """Allowed by both rules."""

    first: Visibility
    second: Visibility

    def allowed(self, query: Places, key: Places) -> Tensor:
        return self.first.allowed(query, key) & self.second.allowed(query, key)


def dense_mask(rule: Visibility, places: Places) -> Tensor:
    """The rule for every pair: bool [B or 1, 1, T queries, T keys]."""

    def along(dim: int) -> Places:
        segment = None if places.segment is None else places.segment.unsqueeze(dim)
        return Places(places.index.unsqueeze(dim), segment)

    return rule.allowed(along(-1), along(-2)).unsqueeze(1)
