"""Multi-head softmax attention (Vaswani et al. 2017) with grouped key-value heads."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from model.options import TransformerOptions
from model.positions import rotate


@dataclass(frozen=True)
class AttentionContext:
    """What every block of one forward pass shares."""

    mask: Tensor | None
    "Dense visibility [B or 1, 1, T, T]; None means plain causal."
    angles: tuple[Tensor, Tensor] | None
    "Rotary cosine and sine [B, 1, T, K]; None without rotary positions."


class Attention(nn.Module):
    """Self-attention: [B, T, D] -> [B, T, D]."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        self._num_heads, self._kv_heads = options.num_heads, options.kv_heads
        query_width = options.num_heads * options.head_width
        key_width = options.kv_heads * options.head_width
        self.query = nn.Linear(options.dim, query_width, bias=options.bias)
        self.key = nn.Linear(options.dim, key_width, bias=options.bias)
        self.value = nn.Linear(options.dim, key_width, bias=options.bias)
        self.output = nn.Linear(query_width, options.dim, bias=options.bias)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Attend as `context` allows."""
        q_BHTK = _split(self.query(x_BTD), self._num_heads)
        k_BGTK = _split(self.key(x_BTD), self._kv_heads)
        v_BGTK = _split(self.value(x_BTD), self._kv_heads)
        if context.angles is not None:
            q_BHTK, k_BGTK = rotate(q_BHTK, context.angles), rotate(k_BGTK, context.angles)
        mixed_BHTK = scaled_dot_product_attention(
            q_BHTK,
            k_BGTK,
            v_BGTK,
            attn_mask=context.mask,
            is_causal=context.mask is None,
            enable_gqa=self._num_heads != self._kv_heads,
        )
        return self.output(mixed_BHTK.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _split(x: Tensor, num_heads: int) -> Tensor:
    """[B, T, heads * K] -> [B, heads, T, K]."""
    return x.view(*x.shape[:-1], num_heads, -1).transpose(1, 2)
