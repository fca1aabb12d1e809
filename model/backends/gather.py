"""Windows and blocks at the cost of what they see: time and memory grow with the row, not with its square.

Queries are cut into blocks. The keys that a block of queries may see lie in a range around it, and beside it there are
the global tokens at the start of the row: only those are gathered, and the rule is evaluated only there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from model.backends.backend import Backend, Request
from model.backends.reference import Reference
from model.backends.sdpa import SDPA
from model.visibility import (
    BlockLocal,
    Both,
    Causal,
    Either,
    Global,
    Places,
    Visibility,
    Window,
    dense_mask,
)

_FAR = 1 << 40
"A distance beyond every row."


@dataclass(frozen=True)
class _Blocks:
    """How a row is cut."""

    size: int
    "Queries of a block."
    before: int
    "Keys gathered before a block."
    after: int
    "Keys gathered behind it."
    num_global: int
    "First tokens of the row, gathered for every block."

    @property
    def span(self) -> int:
        """Neighbouring keys gathered for a block."""
        return self.before + self.size + self.after


@dataclass(frozen=True)
class _Prepared:
    blocks: _Blocks
    inner: SDPA | Reference
    "What computes attention within blocks."
    pieces: list[Any]
    "What `inner` prepared: for every row, or for all together."
    num_masks: int
    "In each of these: rows that have a mask of their own, or 1 for all."
    global_queries: Any
    "What `inner` prepared for the global tokens, who may see everyone; None: there are none."


class Gather(Backend):
    """Rules that bound how far a token sees, but for some global tokens, in self-attention over whole rows."""

    name = "gather"

    def __init__(self, smallest_block: int = 64) -> None:
        self._smallest_block = smallest_block

    def objection(self, request: Request) -> str | None:
        if request.has_bias:
            return "gather has no bias on scores"
        if request.query is not request.key:
            return "gather needs whole rows that look at themselves, not decoding or cross-attention"
        if self._plan(request) is None:
            return f"gather needs a rule that bounds how far a token sees, found {request.rule}"
        return None

    def hesitation(self, request: Request) -> str | None:
        blocks, length = self._plan(request), request.key.index.shape[-1]
        assert blocks is not None
        if 2 * (blocks.span + blocks.num_global) > length:
            return f"gathering {blocks.span + blocks.num_global} keys for every block pays only in rows twice as long"
        return None

    def prepare(self, request: Request) -> _Prepared:
        blocks, places = self._plan(request), request.key
        assert blocks is not None
        length = places.index.shape[-1]
        in_order = (places.index == torch.arange(length, device=places.index.device)).all()
        torch._assert_async(in_order, "gather needs rows whose index is 0, 1, 2, ...")
        inner = SDPA() if request.softcap is None else Reference()
        mask_RNCS = _mask(blocks, request.rule, places)
        # On a CPU rows are taken one by one: overlapping ranges of the keys of one row are a view, of several a copy.
        masks = mask_RNCS.chunk(len(mask_RNCS)) if request.device.type == "cpu" else (mask_RNCS,)
        pieces = [inner.of_mask(mask.flatten(0, 1).unsqueeze(1), request.dtype) for mask in masks]
        global_queries = None
        if blocks.num_global:
            mask = dense_mask(request.rule, _first(places, blocks.num_global), places)
            global_queries = inner.of_mask(mask, request.dtype)
        return _Prepared(blocks, inner, pieces, len(masks[0]), global_queries)

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
        how: dict[str, Any] = {"scale": scale, "softcap": softcap, "dropout": dropout}
        num_rows = len(q_BHTK)
        if q_BHTK.device.type != "cpu" or num_rows == 1:
            mixed_BHTK = _in_blocks(q_BHTK, k_BGSK, v_BGSK, prepared, prepared.pieces[0], how)
        else:
            pieces = prepared.pieces * (num_rows // len(prepared.pieces))
            rows = zip(*(x.chunk(num_rows) for x in (q_BHTK, k_BGSK, v_BGSK)), pieces, strict=True)
            mixed_BHTK = torch.cat([_in_blocks(q, k, v, prepared, piece, how) for q, k, v, piece in rows])
        count = prepared.blocks.num_global
        if not count:
            return mixed_BHTK
        first = prepared.inner.attend(q_BHTK[:, :, :count], k_BGSK, v_BGSK, prepared.global_queries, **how)
        return torch.cat((first, mixed_BHTK[:, :, count:]), dim=2)

    def _plan(self, request: Request) -> _Blocks | None:
        return _plan(request.rule, request.key.index.shape[-1], self._smallest_block)


@lru_cache(maxsize=256)
def _plan(rule: Visibility, length: int, smallest: int) -> _Blocks | None:
    """The cheapest blocks for rows of `length` tokens; None where the rule does not bound how far a token sees."""
    parts = list(_parts(rule))
    num_global = min(length, max((part.count for part in parts if isinstance(part, Global)), default=0))
    sizes = {smallest}
    while max(sizes) < length:
        sizes.add(2 * max(sizes))
    # Blocks of queries that are whole blocks of the rule see nothing beyond themselves.
    sizes |= {-(-smallest // part.size) * part.size for part in parts if isinstance(part, BlockLocal)}
    found = [_Blocks(size, *_margins(rule, length, size), num_global) for size in sizes]
    if found[0].span >= _FAR // 2:
        return None
    # A query costs what its block gathers, and gathering is shared by a block: longer blocks pay where either is close.
    return min(found, key=lambda blocks: (blocks.span * (1 + 128 / blocks.size), -blocks.size))


def _margins(rule: Visibility, length: int, size: int) -> tuple[int, int]:
    """How far before and behind its own places a block of queries sees at most."""
    before = after = 0
    for start in range(0, length, size):
        low, high = _range(rule, start, start + size - 1)
        before, after = max(before, start - low), max(after, high - (start + size - 1))
    return before, after


def _range(rule: Visibility, first: int, last: int) -> tuple[int, int]:
    """Lowest and highest place that queries `first` to `last` may see, when neither is a global token."""
    match rule:
        case Causal():
            return -_FAR, last
        case Window(before, after):
            return first - before, last + after
        case BlockLocal(size):
            return first // size * size, last // size * size + size - 1
        case Global():
            return _FAR, -_FAR
        case Both(one, other):
            (low, high), (other_low, other_high) = _range(one, first, last), _range(other, first, last)
            return max(low, other_low), min(high, other_high)
        case Either(one, other):
            (low, high), (other_low, other_high) = _range(one, first, last), _range(other, first, last)
            return min(low, other_low), max(high, other_high)
        case _:
            return -_FAR, _FAR


def _parts(rule: Visibility) -> Iterator[Visibility]:
    """The rules that this one is composed of."""
    if isinstance(rule, Both | Either):
        yield from _parts(rule.first)
        yield from _parts(rule.second)
    else:
        yield rule


def _mask(blocks: _Blocks, rule: Visibility, places: Places) -> Tensor:
    """The rule for every query of a block and every key gathered for it: bool [B or 1, N blocks, queries, keys]."""
    length, device = places.index.shape[-1], places.index.device
    num_blocks = -(-length // blocks.size)
    start_N1 = torch.arange(num_blocks, device=device)[:, None] * blocks.size
    query_NC = start_N1 + torch.arange(blocks.size, device=device)
    near_NS = start_N1 - blocks.before + torch.arange(blocks.span, device=device)
    far_NS = torch.arange(blocks.num_global, device=device).expand(num_blocks, -1)
    key_NS = torch.cat((far_NS, near_NS), dim=1)
    # A global token near a block is gathered twice, and counts once.
    counts_NS = torch.cat((torch.ones_like(far_NS, dtype=torch.bool), near_NS >= blocks.num_global), dim=1)
    counts_NS = counts_NS & (key_NS < length)

    def at(place: Tensor, dim: int) -> Places:
        inside = place.clamp(0, length - 1)
        segment = None if places.segment is None else places.segment[:, inside].unsqueeze(dim)
        split = None if places.split is None else places.split.view(-1, 1, 1, 1)
        return Places(place[None].unsqueeze(dim), segment, split)

    return rule.allowed(at(query_NC, -1), at(key_NS, -2)) & counts_NS[:, None]


def _first(places: Places, count: int) -> Places:
    segment = None if places.segment is None else places.segment[:, :count]
    return Places(places.index[:, :count], segment, places.split)


def _in_blocks(
    q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, prepared: _Prepared, piece: Any, how: dict[str, Any]
) -> Tensor:
    """Attention of every block of queries to the keys gathered for it, put together again."""
    blocks, num_masks, (num_rows, num_heads, length, width) = prepared.blocks, prepared.num_masks, q_BHTK.shape
    num_blocks = -(-length // blocks.size)
    missing = num_blocks * blocks.size - length

    def gathered(x_BGSK: Tensor) -> Tensor:
        near_BGNSK = _padded(x_BGSK, blocks.before, blocks.after + missing)
        near_BGNSK = near_BGNSK.unfold(2, blocks.span, blocks.size).transpose(-1, -2)
        if not blocks.num_global:
            return near_BGNSK
        far_BGNSK = x_BGSK[:, :, None, : blocks.num_global].expand(-1, -1, num_blocks, -1, -1)
        return torch.cat((far_BGNSK, near_BGNSK), dim=3)

    def folded(x_BHNCK: Tensor) -> Tensor:
        # Blocks are rows. Rows with a mask each are too; rows with the same mask are heads: the mask stays one.
        x = x_BHNCK.view(num_masks, -1, *x_BHNCK.shape[1:]).permute(0, 3, 1, 2, 4, 5)
        return x.flatten(2, 3).flatten(0, 1)

    q_BHNCK = _padded(q_BHTK, 0, missing).view(num_rows, num_heads, num_blocks, blocks.size, width)
    mixed = prepared.inner.attend(folded(q_BHNCK), folded(gathered(k_BGSK)), folded(gathered(v_BGSK)), piece, **how)
    mixed = mixed.view(num_masks, num_blocks, -1, num_heads, blocks.size, width).permute(0, 2, 3, 1, 4, 5)
    mixed_BHTK: Tensor = mixed.reshape(num_rows, num_heads, -1, width)[:, :, :length]
    return mixed_BHTK


def _padded(x_BHTK: Tensor, before: int, after: int) -> Tensor:
    """With so many zeros before and behind the tokens; itself, not a copy, where there are none."""
    return pad(x_BHTK, (0, 0, before, after)) if before or after else x_BHTK
