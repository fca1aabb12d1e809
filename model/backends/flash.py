"""The package flash-attn (Dao 2024), 2.8.

Untested on GPU: the tests put a module with the package's signatures, computing the same densely, in its place.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from model.backends.backend import Backend, Request
from model.visibility import Causal, Everything, NotPadding, Places, SameSegment, Visibility, Window, conjuncts

_MOST_WIDTH = 256
_LEAST_CAPABILITY = (8, 0)
_ALL = -1
"A window without an end."
_IDS = 1 << 32
"Beyond every number of a segment."


@dataclass(frozen=True)
class _Lowered:
    """A rule in the package's words."""

    is_causal: bool = False
    before: int = _ALL
    after: int = _ALL
    has_documents: bool = False
    "Whether only tokens of the same segment see each other."
    drops_padding: bool = False

    @property
    def has_window(self) -> bool:
        return (self.before, self.after) != (_ALL, _ALL)

    @property
    def is_variable(self) -> bool:
        """Whether rows fall into sequences of various lengths."""
        return self.has_documents or self.drops_padding


@dataclass(frozen=True)
class _Side:
    """The tokens of queries or keys, sequence after sequence."""

    order: Tensor
    "Of all tokens [B * T], those that belong to a sequence, in the order of sequences."
    sequence: Tensor
    "The sequence of each."
    ends: Tensor
    "int32 [sequences + 1]: where each starts, and where the last one ends."
    longest: int
    is_everything: bool
    "Whether that is all tokens in their own order."

    def packed(self, x_BHTK: Tensor, dtype: torch.dtype) -> Tensor:
        """[tokens, H, K]."""
        x_THK = x_BHTK.transpose(1, 2).flatten(0, 1).to(dtype)
        return x_THK if self.is_everything else x_THK[self.order]

    def unpacked(self, x_THK: Tensor, num_rows: int, length: int) -> Tensor:
        """[B, H, T, K]; zeros for tokens of no sequence."""
        if not self.is_everything:
            x_THK = x_THK.new_zeros(num_rows * length, *x_THK.shape[1:]).index_copy(0, self.order, x_THK)
        return x_THK.view(num_rows, length, *x_THK.shape[1:]).transpose(1, 2)


@dataclass(frozen=True)
class _Prepared:
    lowered: _Lowered
    dtype: torch.dtype
    sides: tuple[_Side, _Side] | None
    "Queries and keys; None: all rows are whole sequences."


class Flash(Backend):
    """Causal attention, windows, documents, padding, and all of these together, in half precision on CUDA."""

    name = "flash"

    def objection(self, request: Request) -> str | None:
        if not _is_installed():
            return "flash needs the package flash-attn, which is not installed"
        if request.device.type != "cuda":
            return f"flash runs on CUDA, not on {request.device.type}"
        if torch.cuda.get_device_capability(request.device) < _LEAST_CAPABILITY:
            return "flash needs an Ampere GPU or a newer one"
        if request.dtype not in (torch.float16, torch.bfloat16):
            return f"flash computes in float16 or bfloat16, found {str(request.dtype).removeprefix('torch.')}"
        if request.head_width > _MOST_WIDTH:
            return f"flash takes heads up to {_MOST_WIDTH} wide, found {request.head_width}"
        if request.has_bias:
            return "flash has no bias on scores"
        if request.softcap is not None and request.dropout:
            return "flash has no dropout together with a softcap"
        return _objection_to_rule(request)

    def prepare(self, request: Request) -> _Prepared:
        lowered = _lower(request.rule)
        assert isinstance(lowered, _Lowered)
        return _Prepared(lowered, request.dtype, _sides(request, lowered) if lowered.is_variable else None)

    def attend(
        self,
        q_BHTK: Tensor,
        k_BGSK: Tensor,
        v_BGSK: Tensor,
        prepared: _Prepared,
        *,
        scale: float,
        bias: Tensor | None = None,
        softcap: float | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        package, lowered, dtype = importlib.import_module("flash_attn"), prepared.lowered, prepared.dtype
        how: dict[str, Any] = {
            "dropout_p": dropout,
            "softmax_scale": scale,
            "causal": lowered.is_causal,
            "window_size": (lowered.before, lowered.after),
            "softcap": softcap or 0.0,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        }
        if prepared.sides is None:
            # Norms and rotations in float32 may stand between autocast projections and here.
            q_BTHK, k_BSGK, v_BSGK = (x.transpose(1, 2).to(dtype) for x in (q_BHTK, k_BGSK, v_BGSK))
            mixed_BTHK: Tensor = package.flash_attn_func(q_BTHK, k_BSGK, v_BSGK, **how)
            return mixed_BTHK.transpose(1, 2)
        query, key = prepared.sides
        if not query.longest or not key.longest:
            # Nothing but padding, which the package refuses. Every tensor still has its gradient, of zeros.
            return (0 * q_BHTK + 0 * k_BGSK.sum() + 0 * v_BGSK.sum()).to(dtype)
        mixed = package.flash_attn_varlen_func(
            query.packed(q_BHTK, dtype),
            key.packed(k_BGSK, dtype),
            key.packed(v_BGSK, dtype),
            cu_seqlens_q=query.ends,
            cu_seqlens_k=key.ends,
            max_seqlen_q=query.longest,
            max_seqlen_k=key.longest,
            **how,
        )
        return query.unpacked(mixed, len(q_BHTK), q_BHTK.shape[2])


@cache
def _is_installed() -> bool:
    return find_spec("flash_attn") is not None


def _lower(rule: Visibility) -> _Lowered | Visibility:
    """The rule in the package's words; or the part of it that there is no word for."""
    lowered = _Lowered()
    for part in conjuncts(rule):
        match part:
            case Everything():
                pass
            case Causal():
                lowered = replace(lowered, is_causal=True)
            case Window(before, after):
                lowered = replace(lowered, before=_least(lowered.before, before), after=_least(lowered.after, after))
            case SameSegment():
                lowered = replace(lowered, has_documents=True)
            case NotPadding():
                lowered = replace(lowered, drops_padding=True)
            case _:
                return part
    return replace(lowered, after=0) if lowered.is_causal and lowered.has_window else lowered


def _least(one: int, other: int) -> int:
    return other if one == _ALL else min(one, other)


def _objection_to_rule(request: Request) -> str | None:
    lowered = _lower(request.rule)
    if not isinstance(lowered, _Lowered):
        return f"flash has no word for {lowered}"
    query, key = request.query, request.key
    if (lowered.is_variable and key.segment is None) or (lowered.has_documents and query.segment is None):
        return f"{request.rule} needs segment numbers"
    if not lowered.is_causal and not lowered.has_window:
        return None
    if lowered.drops_padding and not lowered.has_documents:
        return "flash counts places without padding; with an order of tokens it needs documents kept separate"
    # The package takes the last query for the one at the last key, and neighbours for one place apart. That is known
    # of whole rows. To look at the places makes the CPU wait for the device, as variable lengths do anyway.
    if query is not key and not _ends_alike(query, key):
        return "flash needs queries that are the last tokens of the keys"
    if lowered.is_variable and (query is not key or lowered.has_window) and not _in_order(request, lowered):
        return "flash needs the tokens of a document side by side"
    if not lowered.is_variable and query is not key and not bool((key.index.diff(dim=-1) == 1).all()):
        return "flash needs the tokens of a row in order"
    return None


def _ends_alike(query: Places, key: Places) -> bool:
    """Whether the queries are the last of the keys."""
    length = query.index.shape[-1]

    def same(one: Tensor | None, other: Tensor | None) -> bool:
        return one is other or (one is not None and other is not None and bool((one == other[:, -length:]).all()))

    return length <= key.index.shape[-1] and same(query.index, key.index) and same(query.segment, key.segment)


def _in_order(request: Request, lowered: _Lowered) -> bool:
    """Whether the keys of every sequence stand one place apart."""
    _, key = _sides(request, lowered)
    assert request.key.segment is not None
    index = request.key.index.expand_as(request.key.segment).flatten()[key.order]
    return bool(((index.diff() == 1) | (key.sequence.diff() != 0)).all())


def _sides(request: Request, lowered: _Lowered) -> tuple[_Side, _Side]:
    """Queries and keys as sequences of equal (row, document), padding left out."""
    key_ids = _ids(request.key.segment, lowered)
    if lowered.has_documents:
        query_ids = _ids(request.query.segment, lowered)
    else:
        rows = torch.arange(len(key_ids), device=key_ids.device)[:, None]
        query_ids = (rows * _IDS).expand(-1, request.query.index.shape[-1])
    found = torch.cat((query_ids.flatten(), key_ids.flatten()))
    numbers: Tensor = torch.unique(found[found >= 0])
    return _side(query_ids, numbers), _side(key_ids, numbers)


def _ids(segment_BT: Tensor | None, lowered: _Lowered) -> Tensor:
    """A number for the sequence of every token, below 0 for padding."""
    assert segment_BT is not None
    rows = torch.arange(len(segment_BT), device=segment_BT.device)[:, None]
    number = segment_BT if lowered.has_documents else 0
    return torch.where(segment_BT >= 0, rows * _IDS + number, -1)


def _side(ids_BT: Tensor, numbers: Tensor) -> _Side:
    ids = ids_BT.flatten()
    kept = (ids >= 0).nonzero().squeeze(1)
    sequence, order = torch.searchsorted(numbers, ids[kept]).sort(stable=True)
    order = kept[order]
    lengths = torch.bincount(sequence, minlength=len(numbers))
    ends = torch.cat((lengths.new_zeros(1), lengths.cumsum(0))).int()
    is_everything = len(order) == len(ids) and bool((order.diff() == 1).all())
    return _Side(order, sequence, ends, int(lengths.max()) if len(numbers) else 0, is_everything)
