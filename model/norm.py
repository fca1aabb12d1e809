"""Normalisation over the model width."""

from __future__ import annotations

from torch import nn

from model.options import TransformerOptions


def build_norm(options: TransformerOptions) -> nn.Module:
    """The norm that `options` name, for [..., D]."""
    if options.norm == "rms":
        return nn.RMSNorm(options.dim, eps=options.norm_eps)
    return nn.LayerNorm(options.dim, eps=options.norm_eps, bias=options.bias)
