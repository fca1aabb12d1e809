"""One pre-norm transformer block (Xiong et al. 2020)."""

from __future__ import annotations

from torch import Tensor, nn

from model.attention import Attention, AttentionContext
from model.feed_forward import build_feed_forward
from model.norm import build_norm
from model.options import TransformerOptions


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)): [B, T, D] -> [B, T, D]."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        self.attention_norm = build_norm(options)
        self.attention = Attention(options)
        self.feed_forward_norm = build_norm(options)
        self.feed_forward = build_feed_forward(options)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Both residual branches."""
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), context))
        return x_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BTD)))  # type: ignore[no-any-return]
