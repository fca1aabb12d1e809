"""Normalisation over the model width."""

from __future__ import annotations

from torch import nn

from model.options import BlockOptions


def build_norm(options: BlockOptions, width: int | None = None) -> nn.Module:
    """The norm that `options` name, for [..., D] (or another width)."""
    dim = width or options.dim
    if options.norm == "rms":
        return nn.RMSNorm(dim, eps=options.norm_eps)
    return nn.LayerNorm(dim, eps=options.norm_eps, bias=options.norm_has_bias)
