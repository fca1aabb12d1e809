"""Multi-head softmax attention (Vaswani et al. 2017) with grouped key-value heads."""

from __future__ import annotations

import math
from functools import reduce
from operator import and_
from typing import Any

import torch
from torch import Tensor, nn

from model.backends.reference import Reference
from model.mixers.mixer import Mixer, MixerContext, State
from model.mixers.options import AttentionOptions
from model.options import BlockOptions
from model.positions.rotary import rotate
from model.taps import tap
from model.visibility import BlockLocal, Dilated, Global, Visibility, Window, dense_mask


class Attention(Mixer):
    """Attention of tokens to each other, or to a memory."""

    takes_backend = True
    taps = ("queries", "keys", "values", "weights", "mixed")
    "What `model.taps` can see: after norms and rotation; the weights as the reference computes them."

    def __init__(self, options: AttentionOptions, block: BlockOptions, *, causal: bool = True) -> None:
        super().__init__()
        self.options = options
        self._causal = causal
        width = options.head_width(block.dim)
        bias = block.bias if options.bias is None else options.bias
        key_bias = bias if options.key_bias is None else options.key_bias
        output_bias = bias if options.output_bias is None else options.output_bias
        self.query = nn.Linear(block.dim, options.num_heads * width, bias=bias)
        self.key = nn.Linear(block.dim, options.kv_heads * width, bias=key_bias)
        self.value = nn.Linear(block.dim, options.kv_heads * width, bias=bias)
        self.output = nn.Linear(options.num_heads * width, block.dim, bias=output_bias)
        if options.qk_norm == "rms":
            self.query_norm = nn.RMSNorm(width, eps=block.norm_eps)
            self.key_norm = nn.RMSNorm(width, eps=block.norm_eps)
        self.head_width = width
        self._scale = options.scale or 1 / math.sqrt(width)

    def rule(self, base: Visibility) -> Visibility:
        options = self.options
        local: list[Visibility] = []
        if options.window is not None:
            local.append(Window(options.window, 0 if self._causal else options.window))
        if options.dilation is not None:
            local.append(Dilated(options.dilation))
        if options.block is not None:
            local.append(BlockLocal(options.block))
        if not local:
            return base
        near = reduce(and_, local)
        return base & (near | Global(options.global_tokens) if options.global_tokens else near)

    def asks(self) -> dict[str, Any]:
        dropout = self.options.dropout if self.training else 0.0
        return {"head_width": self.head_width, "softcap": self.options.softcap, "dropout": dropout}

    def forward(self, x_BTD: Tensor, context: MixerContext, memory_BSD: Tensor | None = None) -> Tensor:
        """Attend as `context` allows: to each other, or to a memory."""
        k_BGSK, v_BGSK = self.keys_values(x_BTD if memory_BSD is None else memory_BSD, context)
        return self._mixed(self._queries(x_BTD, context), k_BGSK, v_BGSK, context)

    def empty_state(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        empty = torch.empty(batch, self.options.kv_heads, 0, self.head_width, device=device, dtype=dtype)
        return empty, empty

    def step(self, x_BTD: Tensor, context: MixerContext, state: State) -> tuple[Tensor, State]:
        new = self.keys_values(x_BTD, context)
        k_BGSK, v_BGSK = (torch.cat((old, more), dim=2) for old, more in zip(state, new, strict=True))
        return self._mixed(self._queries(x_BTD, context), k_BGSK, v_BGSK, context), (k_BGSK, v_BGSK)

    def recall(self, x_BTD: Tensor, context: MixerContext, memory: State) -> Tensor:
        """Attend to the keys and values of a memory, computed before."""
        k_BGSK, v_BGSK = memory
        return self._mixed(self._queries(x_BTD, context), k_BGSK, v_BGSK, context)

    def materialize(self, x_BTD: Tensor, context: MixerContext) -> Tensor:
        k_BGSK, _ = self.keys_values(x_BTD, context)
        return self._weights(self._queries(x_BTD, context), k_BGSK, context)

    def _weights(self, q_BHTK: Tensor, k_BGSK: Tensor, context: MixerContext) -> Tensor:
        request = context.visible.request
        return Reference().weights(
            q_BHTK,
            k_BGSK,
            dense_mask(request.rule, request.query, request.key),
            scale=self._scale,
            bias=context.bias,
            softcap=self.options.softcap,
        )

    def keys_values(self, x_BSD: Tensor, context: MixerContext) -> tuple[Tensor, Tensor]:
        """Keys and values [B, G, S, K]: what a state holds."""
        return self._heads_of_memory(self.key(x_BSD), self.value(x_BSD), context)

    def attend(self, q_BTE: Tensor, k_BSE: Tensor, v_BSE: Tensor, context: MixerContext) -> Tensor:
        """What the heads take [B, T, heads * K], given the projections of tokens, heads side by side."""
        k_BGSK, v_BGSK = self._heads_of_memory(k_BSE, v_BSE, context)
        return self._attend(self._heads_of_queries(q_BTE, context), k_BGSK, v_BGSK, context)

    def _heads_of_memory(self, k_BSE: Tensor, v_BSE: Tensor, context: MixerContext) -> tuple[Tensor, Tensor]:
        k_BGSK = _split(k_BSE, self.options.kv_heads)
        if self.options.qk_norm == "rms":
            k_BGSK = self.key_norm(k_BGSK)
        if context.angles is not None:
            k_BGSK = rotate(k_BGSK, context.angles)
        return k_BGSK, _split(v_BSE, self.options.kv_heads)

    def _queries(self, x_BTD: Tensor, context: MixerContext) -> Tensor:
        return self._heads_of_queries(self.query(x_BTD), context)

    def _heads_of_queries(self, q_BTE: Tensor, context: MixerContext) -> Tensor:
        q_BHTK = _split(q_BTE, self.options.num_heads)
        if self.options.qk_norm == "rms":
            q_BHTK = self.query_norm(q_BHTK)
        return q_BHTK if context.angles is None else rotate(q_BHTK, context.angles)

    def _mixed(self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, context: MixerContext) -> Tensor:
        return self.output(self._attend(q_BHTK, k_BGSK, v_BGSK, context))  # type: ignore[no-any-return]

    def _attend(self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, context: MixerContext) -> Tensor:
        backend = context.visible.backend
        assert backend is not None
        tap(self, "queries", q_BHTK)
        tap(self, "keys", k_BGSK)
        tap(self, "values", v_BGSK)
        tap(self, "weights", lambda: self._weights(q_BHTK, k_BGSK, context))
        mixed_BHTK = backend.attend(
            q_BHTK,
            k_BGSK,
            v_BGSK,
            context.visible.prepared,
            scale=self._scale,
            bias=context.bias,
            softcap=self.options.softcap,
            dropout=self.options.dropout if self.training else 0.0,
        )
        tap(self, "mixed", mixed_BHTK)
        return mixed_BHTK.transpose(1, 2).flatten(2)


def _split(x: Tensor, num_heads: int) -> Tensor:
    """[B, T, heads * K] -> [B, heads, T, K]."""
    return x.view(*x.shape[:-1], num_heads, -1).transpose(1, 2)
