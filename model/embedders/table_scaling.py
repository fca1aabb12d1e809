"""What the embedders of tables have in common: features on one scale, known by the context rows alone."""

from __future__ import annotations

import torch
from torch import Tensor


def standardised(
    features_BRC: Tensor, num_features_B: Tensor, num_context_B: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    """Features of mean 0 and standard deviation 1 over the context rows, and which cells are missing.

    Missing cells are those that are not finite, and whole columns of which no context row knows a value; they
    become 0, and so does padding. A column that is constant over the context is only centred.

    Args:
        features_BRC: numbers, and categories as their codes.
        num_features_B: how many of the columns are no padding.
        num_context_B: how many of the first rows are the context.
        clip: largest magnitude of a result, in standard deviations.

    Returns:
        Values [B, R, C] and whether they are missing, bool [B, R, C].
    """
    is_column_B1C = is_first(num_features_B, features_BRC.shape[2])[:, None]
    known_BRC = features_BRC.isfinite() & is_column_B1C
    context_BRC = known_BRC & is_first(num_context_B, features_BRC.shape[1])[:, :, None]
    count_B1C = context_BRC.sum(1, keepdim=True)
    known_BRC = known_BRC & (count_B1C > 0)
    count_B1C = count_B1C.clamp(min=1)
    x_BRC = features_BRC.masked_fill(~known_BRC, 0.0)
    x_BRC = x_BRC - x_BRC.masked_fill(~context_BRC, 0.0).sum(1, keepdim=True) / count_B1C
    variance_B1C = x_BRC.masked_fill(~context_BRC, 0.0).square().sum(1, keepdim=True) / count_B1C
    # Not by the variance, which rounding keeps from being exactly 0.
    infinity = float("inf")
    least_B1C = features_BRC.masked_fill(~context_BRC, infinity).amin(1, keepdim=True)
    varies_B1C = features_BRC.masked_fill(~context_BRC, -infinity).amax(1, keepdim=True) > least_B1C
    x_BRC = x_BRC / torch.where(varies_B1C, variance_B1C.sqrt(), 1.0)
    return x_BRC.clamp(-clip, clip).masked_fill(~known_BRC, 0.0), is_column_B1C & ~known_BRC


def labels_known(label_BR: Tensor, num_context_B: Tensor, unknown: int) -> Tensor:
    """The labels of the context rows; `unknown` in the others, whatever their labels are."""
    return label_BR.where(is_first(num_context_B, label_BR.shape[1]), unknown)


def is_first(number_B: Tensor, size: int) -> Tensor:
    """Whether each of `size` places is among the first `number`: bool [B, size]."""
    return torch.arange(size, device=number_B.device) < number_B[:, None]
