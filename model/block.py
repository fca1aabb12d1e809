"""One transformer block: a mixer, perhaps cross-attention, and a feed-forward layer, each on a residual branch."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from configs.options import construct
from model.feed_forward import build_feed_forward
from model.mixers.attention import Attention
from model.mixers.mixer import Mixer, MixerContext, State
from model.mixers.options import AttentionOptions
from model.norm import build_norm
from model.options import BlockOptions


class ChannelScale(nn.Module):
    """A learned factor for every channel: [B, T, D] -> [B, T, D] (Touvron et al. 2021b, LayerScale)."""

    def __init__(self, dim: int, value: float) -> None:
        super().__init__()
        self._value = value
        self.weight = nn.Parameter(torch.full((dim,), value))

    def initial_value(self, _leaf: str, shape: tuple[int, ...], _generator: torch.Generator) -> Tensor:
        """All channels alike."""
        return torch.full(shape, self._value)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Scale."""
        return x_BTD * self.weight


class Branch(nn.Module):
    """What surrounds a branch: x + scale(f(norm(x))) before, norm(x + f(x)) after, or both (sandwich)."""

    def __init__(self, options: BlockOptions, *, has_norm: bool = True) -> None:
        super().__init__()
        self._place = options.norm_place
        self.norm = build_norm(options) if has_norm else nn.Identity()
        if self._place == "sandwich":
            self.norm_after = build_norm(options)
        self.scale = nn.Identity() if options.layer_scale is None else ChannelScale(options.dim, options.layer_scale)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x_BTD: Tensor, inner: Callable[[Tensor], Tensor]) -> Tensor:
        """The stream after the branch."""
        if self._place == "post":
            return self.norm(x_BTD + self.dropout(self.scale(inner(x_BTD))))  # type: ignore[no-any-return]
        return x_BTD + self.change(x_BTD, inner)

    def change(self, x_BTD: Tensor, inner: Callable[[Tensor], Tensor]) -> Tensor:
        """What a branch with a norm before it adds to the stream."""
        change_BTD = inner(self.norm(x_BTD))
        if self._place == "sandwich":
            change_BTD = self.norm_after(change_BTD)
        return self.dropout(self.scale(change_BTD))  # type: ignore[no-any-return]


class Block(nn.Module):
    """The branches of one block: [B, T, D] -> [B, T, D]."""

    def __init__(self, options: BlockOptions, *, causal: bool) -> None:
        super().__init__()
        self.options = options
        self.mixer = cast(Mixer, construct(options.mixer, options, causal=causal))
        self.mixer_branch = Branch(options, has_norm=options.mixer_norm)
        if options.cross:
            assert isinstance(options.mixer, AttentionOptions)
            self.cross = Attention(options.mixer, options, causal=False)
            self.cross_branch = Branch(options)
        if options.feed_forward != "none":
            self.feed_forward = build_feed_forward(options)
            self.feed_forward_branch = Branch(options)

    def forward(
        self,
        x_BTD: Tensor,
        context: MixerContext,
        memory_BSD: Tensor | None = None,
        memory_context: MixerContext | None = None,
    ) -> Tensor:
        """All branches, over whole rows."""
        return self._run(
            x_BTD,
            lambda x: self.mixer(x, context),
            lambda x: self.cross(x, memory_context, memory_BSD),
        )

    def step(
        self,
        x_BTD: Tensor,
        context: MixerContext,
        state: State,
        memory: State | None = None,
        memory_context: MixerContext | None = None,
    ) -> tuple[Tensor, State]:
        """All branches, over further tokens; the state after them."""
        states = []

        def mix(x: Tensor) -> Tensor:
            mixed, after = self.mixer.step(x, context, state)
            states.append(after)
            return mixed

        x_BTD = self._run(x_BTD, mix, lambda x: self.cross.recall(x, cast(MixerContext, memory_context), memory or ()))
        return x_BTD, states[0]

    def _run(self, x_BTD: Tensor, mix: Callable[[Tensor], Tensor], recall: Callable[[Tensor], Tensor]) -> Tensor:
        if self.options.parallel:
            changes = self.mixer_branch.change(x_BTD, mix)
            if self.options.feed_forward != "none":
                changes = changes + self.feed_forward_branch.change(x_BTD, self.feed_forward)
            return x_BTD + changes
        x_BTD = self.mixer_branch(x_BTD, mix)
        if self.options.cross:
            x_BTD = self.cross_branch(x_BTD, recall)
        if self.options.feed_forward != "none":
            x_BTD = self.feed_forward_branch(x_BTD, self.feed_forward)
        return x_BTD
