"""The interface of attention backends, and how one is chosen."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from configs.errors import ConfigError
from model.visibility import Places, Visibility

BACKENDS = {
    "flash": "model.backends.flash:Flash",
    "flex": "model.backends.flex:Flex",
    "gather": "model.backends.gather:Gather",
    "sdpa": "model.backends.sdpa:SDPA",
    "reference": "model.backends.reference:Reference",
}
"By name, the fastest first: `auto` takes the first that has neither objection nor hesitation."


@dataclass(frozen=True)
class Request:
    """What is asked of a backend, apart from the numbers."""

    rule: Visibility
    "Who sees whom."
    query: Places
    "Places of the queries."
    key: Places
    "Places of the keys: the same object as `query` in self-attention over whole rows, whose index is then 0, 1, 2, ..."
    device: torch.device
    dtype: torch.dtype
    "Of queries, keys and values."
    head_width: int = 0
    has_bias: bool = False
    "Whether something is added to the scores."
    softcap: float | None = None
    dropout: float = 0.0
    needs_grad: bool = True


class Backend(ABC):
    """A way to compute softmax attention."""

    name: ClassVar[str]

    @abstractmethod
    def objection(self, request: Request) -> str | None:
        """Why it cannot do what is asked, in words; None: it can."""

    def hesitation(self, request: Request) -> str | None:
        """Why it does not pay here, in words; None: it does. Asked only where there is no objection."""
        return None

    @abstractmethod
    def prepare(self, request: Request) -> Any:
        """What all layers with this request share, computed once in a forward pass (a mask, blocks, lengths)."""

    @abstractmethod
    def attend(
        self,
        q_BHTK: Tensor,
        k_BGSK: Tensor,
        v_BGSK: Tensor,
        prepared: Any,
        *,
        scale: float,
        bias: Tensor | None = None,
        softcap: float | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Values mixed by the softmax of scaled, capped and biased scores: [B, H, T, K].

        Query head h sees key-value head h // (H / G). A query that may see nothing gets zeros.

        Args:
            q_BHTK: queries.
            k_BGSK: keys.
            v_BGSK: values.
            prepared: what `prepare` made.
            scale: factor of the scores.
            bias: [1 or B, 1 or H, T, S], added after scaling and capping.
            softcap: scores s become softcap * tanh(s / softcap).
            dropout: dropout of the weights.
        """


def named(name: str) -> Backend:
    """The backend of this name."""
    module, _, cls = BACKENDS[name].partition(":")
    return getattr(importlib.import_module(module), cls)()  # type: ignore[no-any-return]


def explain(request: Request) -> dict[str, str]:
    """What `auto` makes of a request: for every backend `chosen`, or why not."""
    said: dict[str, str] = {}
    for name in BACKENDS:
        against = _against(named(name), request)
        said[name] = against or ("slower than the chosen" if "chosen" in said.values() else "chosen")
    return said


def choose(name: str | Backend, request: Request) -> Backend:
    """The backend `name`, or with `auto` the fastest that can do what is asked; a backend itself is taken as it is.

    Raises:
        ConfigError: when the named one cannot, with its reason and those of the others.
    """
    if isinstance(name, Backend):
        return name
    if name == "auto":
        return next(backend for backend in map(named, BACKENDS) if _against(backend, request) is None)
    backend = named(name)
    objection = backend.objection(request)
    if objection is not None:
        others = "; ".join(f"{other}: {said}" for other, said in explain(request).items() if other != name)
        raise ConfigError(f"model.backend={name}: {objection}; choose another, or auto, which found: {others}.")
    return backend


def _against(backend: Backend, request: Request) -> str | None:
    return backend.objection(request) or backend.hesitation(request)
