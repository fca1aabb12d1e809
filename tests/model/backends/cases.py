"""Random attention problems: rules composed up to three deep, places, and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from model.backends.backend import Backend, Request
from model.backends.reference import Reference
from model.visibility import (
    BlockLocal,
    Causal,
    ContextOnly,
    Dilated,
    Everything,
    Global,
    NotPadding,
    Places,
    Prefix,
    SameSegment,
    Visibility,
    Window,
    dense_mask,
)

SIMPLE: list[st.SearchStrategy[Visibility]] = [
    st.builds(Everything),
    st.builds(Causal),
    st.builds(SameSegment),
    st.builds(NotPadding),
    st.builds(Window, st.integers(0, 6), st.integers(0, 6)),
    st.builds(Dilated, st.integers(1, 4)),
    st.builds(BlockLocal, st.integers(1, 7)),
    st.builds(Global, st.integers(0, 4)),
    st.builds(Prefix),
    st.builds(ContextOnly),
]


def rules(depth: int = 3) -> st.SearchStrategy[Visibility]:
    """Compositions of all rules up to `depth` operators deep."""
    simple = st.one_of(SIMPLE)
    if depth == 0:
        return simple
    inner = rules(depth - 1)
    both = st.builds(lambda one, other: one & other, inner, inner)
    either = st.builds(lambda one, other: one | other, inner, inner)
    return st.one_of(simple, both, either)


def bounded() -> st.SearchStrategy[Visibility]:
    """Compositions that bound how far a token sees, but for global tokens."""
    near = st.one_of(
        st.builds(Window, st.integers(0, 6), st.integers(0, 6)),
        st.builds(BlockLocal, st.integers(1, 7)),
        st.builds(lambda a, b, size: Window(a, b) | BlockLocal(size), *[st.integers(0, 6)] * 2, st.integers(1, 7)),
    )
    also = st.one_of(st.builds(Global, st.integers(0, 20)), near)
    return st.builds(
        lambda base, near, also, use: base & (near | also) if use else base & near, rules(2), near, also, st.booleans()
    )


@dataclass(frozen=True)
class Problem:
    """One call of a backend, in float64."""

    request: Request
    q: Tensor
    k: Tensor
    v: Tensor
    bias: Tensor | None

    @property
    def visible(self) -> Tensor:
        """bool [B, 1, T, S]."""
        mask = dense_mask(self.request.rule, self.request.query, self.request.key)
        return mask.expand(len(self.q), -1, -1, -1)

    def outputs(self, backend: Backend, k: Tensor | None = None, v: Tensor | None = None) -> Tensor:
        """What the backend makes of it, perhaps with other keys and values."""
        return backend.attend(
            self.q,
            self.k if k is None else k,
            self.v if v is None else v,
            backend.prepare(self.request),
            scale=0.7,
            bias=self.bias,
            softcap=self.request.softcap,
        )

    def gradients(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """Of a fixed random function of the outputs."""
        upstream = numbers(17, *outputs.shape)
        inputs = [self.q, self.k, self.v, *([] if self.bias is None else [self.bias])]
        if not outputs.requires_grad:  # nobody sees anything: no number depends on another
            return tuple(torch.zeros_like(item) for item in inputs)
        return torch.autograd.grad(outputs, inputs, upstream, materialize_grads=True)


def problem(
    rule: Visibility,
    query: Places,
    key: Places,
    *,
    batch: int,
    heads: tuple[int, int] = (4, 2),
    softcap: float | None = None,
    has_bias: bool = False,
    needs_grad: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Problem:
    """A rule at these places, with random numbers."""
    length, num_keys, (num_heads, kv_heads) = query.index.shape[-1], key.index.shape[-1], heads
    asked: dict[str, Any] = {"softcap": softcap, "has_bias": has_bias, "needs_grad": needs_grad}
    request = Request(rule, query, key, torch.device("cpu"), dtype, head_width=8, **asked)
    shapes = [(batch, num_heads, length, 8), (batch, kv_heads, num_keys, 8), (batch, kv_heads, num_keys, 8)]
    q, k, v = (numbers(seed, *shape).to(dtype).requires_grad_(needs_grad) for seed, shape in enumerate(shapes))
    bias = numbers(3, 1, num_heads, length, num_keys).to(dtype).requires_grad_(needs_grad) if has_bias else None
    return Problem(request, q, k, v, bias)


def numbers(seed: int, *shape: int) -> Tensor:
    """Random numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@st.composite
def places(draw: st.DrawFn, batch: int, length: int) -> Places:
    """Places of whole rows. Documents need not lie together, and padding is anywhere."""
    segments = st.lists(st.sampled_from([-1, 0, 0, 1, 2]), min_size=length, max_size=length)
    segment = torch.tensor([draw(segments) for _ in range(batch)])
    split = torch.tensor([draw(st.integers(0, length)) for _ in range(batch)])
    return Places(torch.arange(length)[None], segment, split)


@st.composite
def problems(draw: st.DrawFn, of: st.SearchStrategy[Visibility], **more: Any) -> Problem:
    """Self-attention over whole rows under a rule of `of`."""
    batch, length = draw(st.integers(1, 3)), draw(st.integers(1, 40))
    where = draw(places(batch, length))
    heads = draw(st.sampled_from([(4, 4), (4, 2), (4, 1)]))
    softcap = draw(st.sampled_from([None, 2.0]))
    return problem(draw(of), where, where, batch=batch, heads=heads, softcap=softcap, **more)


def assert_equals_reference(one: Problem, backend: Backend) -> None:
    """Outputs, and gradients where they are asked for, to rounding."""
    ours, theirs = one.outputs(backend), one.outputs(Reference())
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    if one.request.needs_grad:
        for mine, other in zip(one.gradients(ours), one.gradients(theirs), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def assert_unseen_tokens_change_nothing(one: Problem, backend: Backend, place: int) -> None:
    """Another key and value at `place` leave every query that may not see it as it was, bit for bit."""
    k, v = one.k.detach().clone(), one.v.detach().clone()
    k[:, :, place] = 3 * numbers(5, *k[:, :, place].shape)
    v[:, :, place] = 3 * numbers(6, *v[:, :, place].shape)
    before, after = one.outputs(backend), one.outputs(backend, k, v)
    same_BHT = (before == after).all(-1)
    sees_B1T = one.visible[..., place]
    assert same_BHT[~sees_B1T.expand_as(same_BHT)].all()
    # It does change those who see more than it alone, or it alone.
    assert not same_BHT[sees_B1T.expand_as(same_BHT)].any()
