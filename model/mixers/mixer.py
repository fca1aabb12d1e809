"""The interface of mixers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from model.backends.backend import Backend, Request, choose
from model.visibility import Places, Visibility


@dataclass(frozen=True)
class Visible:
    """A rule at the places of one forward pass, prepared for a backend; shared by all layers with this rule."""

    request: Request
    backend: Backend | None
    prepared: Any = None


@dataclass(frozen=True)
class MixerContext:
    """What a mixer knows of the tokens besides their vectors."""

    visible: Visible
    "Who sees whom."
    angles: tuple[Tensor, Tensor] | None = None
    "Rotary cosine and sine of the tokens [B or 1, 1, T, K]."
    bias: Tensor | None = None
    "Added to attention scores [1 or B, H, T, S]."
    grid: tuple[int, ...] | None = None
    "Size of the grid that the tokens stand on."


State = tuple[Tensor, ...]
"What a mixer remembers of the tokens before: tensors whose first dimension is the batch. Never changed in place."


class Mixer(nn.Module, ABC):
    """Tokens exchange information. Built from its options, and those of its block."""

    takes_backend: ClassVar[bool] = False
    "Whether an attention backend computes it; else `context.visible` holds only the rule and the places."
    head_width: int = 0
    "K, where queries and keys are rotated; 0 where nothing is."
    axis: int | None = None
    "Axis of the grid along which tokens mix, every line for itself; None: all tokens with each other."

    def asks(self) -> dict[str, Any]:
        """What its backend must be able to do: fields of `Request`."""
        return {}

    def rule(self, base: Visibility) -> Visibility:
        """Who sees whom here, given the model's rule."""
        return base

    def places(self, places: Places, grid: tuple[int, ...] | None) -> Places:
        """Where tokens stand for this mixer: a function of `axis`."""
        return places

    @abstractmethod
    def forward(self, x_BTD: Tensor, context: MixerContext) -> Tensor:
        """Mix whole rows."""

    @abstractmethod
    def empty_state(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        """The state before the first token."""

    @abstractmethod
    def step(self, x_BTD: Tensor, context: MixerContext, state: State) -> tuple[Tensor, State]:
        """Mix further tokens, one or many, with those in `state`; `context` sees keys of both, old ones first.

        Equals `forward` on the whole rows, at the new places.
        """

    @abstractmethod
    def materialize(self, x_BTD: Tensor, context: MixerContext) -> Tensor:
        """The explicit mixing matrix [B, H, T, T]: what each token takes from each."""


def visible(
    name: str | Backend | None, rule: Visibility, query: Places, key: Places, x: Tensor, **more: Any
) -> Visible:
    """The rule at these places, prepared for the backend `name` (None: for none)."""
    kind = x.device.type
    # Under autocast the stream is float32, and what the projections make of it is not.
    has_autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if has_autocast else x.dtype
    request = Request(rule, query, key, x.device, dtype, needs_grad=torch.is_grad_enabled(), **more)
    if name is None:
        return Visible(request, None)
    backend = choose(name, request)
    return Visible(request, backend, backend.prepare(request))
