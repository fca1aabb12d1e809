"""Tensors of another vocabulary or of other learned positions, fitted to a model.

Which tensors can be fitted is decided by the module that owns them: rows of a table stand for tokens or places there;
elsewhere a matrix with another number of rows belongs to another model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from model.embedders.text import TextEmbedder
from model.heads import LMHead
from model.positions.absolute import LearnedPositions

Resize = Callable[[Tensor, int], Tensor]
"(tensor, rows wanted) -> the tensor with that many rows."


def resizers_of(module: nn.Module) -> dict[str, Resize]:
    """The parameters that can be fitted, and how."""
    found: dict[str, Resize] = {}
    for name, part in module.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(part, TextEmbedder):
            found[f"{prefix}tokens.weight"] = entries
        elif isinstance(part, LMHead):
            found |= {f"{prefix}output.weight": entries, f"{prefix}bias.bias": entries}
        elif isinstance(part, LearnedPositions) and part.first_place is not None:
            found[f"{prefix}table.weight"] = functools.partial(places, first=part.first_place)
    return found


def entries(table: Tensor, rows: int) -> Tensor:
    """A vocabulary: the first entries are kept, new ones are the mean of all old ones (Hewitt 2021).

    The mean keeps the probabilities of old tokens nearly as they were: an average token is never likely.
    """
    mean = table.float().mean(0, keepdim=True).to(table.dtype)
    return torch.cat((table[:rows], mean.expand(max(0, rows - len(table)), *table.shape[1:])))


def places(table: Tensor, rows: int, *, first: int) -> Tensor:
    """Learned positions: the first places are kept, further ones repeat them (Beltagy et al. 2020, section 5).

    Args:
        table: `first` rows that stand for no place, then the places.
        rows: rows wanted.
        first: how many rows stand for no place.
    """
    known = table[first:]
    wanted = rows - first
    return torch.cat((table[:first], known.repeat(-(-wanted // len(known)), 1)[:wanted]))
