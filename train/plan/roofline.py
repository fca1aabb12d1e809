"""One transformer block, operator by operator: bytes through memory, operations, and what is kept for backward.

Counted from shapes, as the modules of `model.block` (run eagerly) and `model.int8.block` (one kernel an operator) move
them; then timed by a roofline: an operator takes as long as its operations or its bytes, whichever takes longer.

    for row in compared(block, Size(tokens=8192, attention_flops=...), gpu): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from model.int8.options import require_block
from model.options import GATED, BlockOptions
from train.plan.gpus import Gpu, catalogue
from train.plan.time import ATTENTION_AGAIN, CASES, MEMORY_SHARE, Case, gemm_rate, peak_of

Flow = Literal["bf16", "int8"]
"How matrices are held between operators."


@dataclass(frozen=True)
class Size:
    """What a block is given."""

    tokens: int
    "N, of a micro-batch."
    attention_flops: float
    "Of one token, forward and backward, as visibility shows."


@dataclass(frozen=True)
class Work:
    """One kernel."""

    num_bytes: float
    "Read and written."
    operations: float = 0.0
    "Of products; element-wise arithmetic is free beside memory."
    is_attention: bool = False


@dataclass(frozen=True)
class Operator:
    """Kernels of one kind in a block."""

    name: str
    forward: Sequence[Work]
    backward: Sequence[Work]
    saved: float
    "Bytes that are kept for backward."


@dataclass(frozen=True)
class _Widths:
    """Bytes of one number."""

    x: float
    "Between operators; of weights too."
    stream: float
    attention: float
    weight_gradient: float


_WIDTHS: dict[Flow, _Widths] = {
    "bf16": _Widths(2, 2, 2, 2),
    # A float32 scale for 32 x 32 numbers. Autocast leaves the stream in float32.
    "int8": _Widths(1 + 4 / 1024, 4, 2, 4),
}


def operators_of(block: BlockOptions, size: Size, flow: Flow) -> list[Operator]:
    """The operators of a pre-norm block of attention and a feed-forward layer, without dropout.

    Raises:
        ValueError: when there is no such block in 8 bits; both flows are counted of the same blocks.
    """
    require_block(block)
    return [*_Counting(block, size, flow).operators()]


@dataclass(frozen=True)
class Compared:
    """One kind of operator, or the whole block, in both flows."""

    name: str
    bf16: tuple[float, float]
    "Seconds forward and backward, at the typical efficiency."
    int8: dict[Case, tuple[float, float]]
    "The same for every efficiency of 8-bit products; all else at the typical one."
    saved: dict[Flow, float]
    "Bytes kept for backward."

    def faster(self, case: Case) -> float | None:
        """bf16's time over int8's, forward and backward; None where there is nothing in one of them."""
        before, after = sum(self.bf16), sum(self.int8[case])
        return before / after if before and after else None


def compared(block: BlockOptions, size: Size, gpu: Gpu) -> list[Compared]:
    """Every operator of a block in both flows; the whole block last.

    Raises:
        ValueError: when there is no such block in 8 bits.
        ConfigError: when the device lacks an arithmetic.
    """
    pairs = zip(operators_of(block, size, "bf16"), operators_of(block, size, "int8"), strict=True)
    rows = [
        Compared(
            before.name,
            _times(before, gpu, "bf16", "typical"),
            {case: _times(after, gpu, "int8", case) for case in CASES},
            {"bf16": before.saved, "int8": after.saved},
        )
        for before, after in pairs
    ]
    whole = Compared(
        "block",
        _sum(row.bf16 for row in rows),
        {case: _sum(row.int8[case] for row in rows) for case in CASES},
        {flow: sum(row.saved[flow] for row in rows) for flow in _WIDTHS},
    )
    return [*rows, whole]


def _sum(times: Iterable[tuple[float, float]]) -> tuple[float, float]:
    forward, backward = zip(*times, strict=True)
    return sum(forward), sum(backward)


def _times(operator: Operator, gpu: Gpu, flow: Flow, case: Case) -> tuple[float, float]:
    forward, backward = (
        sum(max(work.num_bytes / _bandwidth(gpu), work.operations / _rate(work, gpu, flow, case)) for work in works)
        for works in (operator.forward, operator.backward)
    )
    return forward, backward


def _bandwidth(gpu: Gpu) -> float:
    return MEMORY_SHARE * gpu.memory_bandwidth


def _rate(work: Work, gpu: Gpu, flow: Flow, case: Case) -> float:
    if work.is_attention:
        return peak_of(gpu, flow) * catalogue().generations[gpu.generation].attention[CASES.index("typical")]
    return gemm_rate(gpu, flow, case)


class _Counting:
    """Shapes by the names of docs: N tokens, D width, F of the feed-forward, E of all queries, G of all keys."""

    def __init__(self, block: BlockOptions, size: Size, flow: Flow) -> None:
        mixer = block.mixer
        head = mixer.head_width(block.dim)
        self.n, self.d, self.f = size.tokens, block.dim, block.hidden_width
        self.e, self.g, self.heads = mixer.num_heads * head, mixer.kv_heads * head, mixer.num_heads
        self.is_gated, self.is_int8 = block.feed_forward in GATED, flow == "int8"
        self.width, self.attention_flops = _WIDTHS[flow], size.attention_flops * size.tokens

    def operators(self) -> Iterator[Operator]:
        yield self._norms()
        yield self._linear()
        yield self._attention()
        yield self._activation()
        yield self._residual()
        yield self._boundary()

    def _norms(self) -> Operator:
        row = self.width.x * self.n * self.d
        return Operator("norm", [Work(2 * row)] * 2, [Work(3 * row)] * 2, saved=2 * row)

    def _linear(self) -> Operator:
        n, d, f, e, g, x = self.n, self.d, self.f, self.e, self.g, self.width.x
        shapes = [(d, e), (d, g), (d, g), (e, d), *[(d, f)] * (2 if self.is_gated else 1), (f, d)]
        forward, backward = [], []
        for inputs, outputs in shapes:
            operations, weight = 2.0 * n * inputs * outputs, inputs * outputs
            forward.append(Work(x * (n * inputs + weight + n * outputs), operations))
            backward.append(Work(x * (n * outputs + weight + n * inputs), operations))
            gradient = self.width.weight_gradient * weight
            backward.append(Work(x * (n * outputs + n * inputs) + gradient, operations))
        # Inputs of queries, keys and values are one; so are those of gate and up. In bf16 that of the output
        # projection is what attention keeps; in 8 bits that of the down-projection is computed again.
        saved = x * n * (2 * d + (e if self.is_int8 else f))
        return Operator("linear", forward, backward, saved)

    def _attention(self) -> Operator:
        row, forward = self.width.attention * self.n, self.attention_flops / 3
        backward = self.attention_flops * (ATTENTION_AGAIN - 1 / 3)
        return Operator(
            "attention",
            [Work(row * (2 * self.e + 2 * self.g), forward, is_attention=True)],
            [Work(row * (4 * self.e + 4 * self.g), backward, is_attention=True)],
            saved=row * (2 * self.e + 2 * self.g) + 4 * self.n * self.heads,
        )

    def _activation(self) -> Operator:
        row = self.width.x * self.n * self.f
        if self.is_int8:
            inputs = 2 if self.is_gated else 1
            again = Work((inputs + 1) * row)  # the input of the down-projection, for the gradient of its weight
            return Operator("activation", [again], [again, Work((2 * inputs + 1) * row)], saved=inputs * row)
        if self.is_gated:  # the curve, and a product
            return Operator("activation", [Work(2 * row), Work(3 * row)], [Work(5 * row), Work(3 * row)], saved=3 * row)
        return Operator("activation", [Work(2 * row)], [Work(3 * row)], saved=row)

    def _residual(self) -> Operator:
        """Additions; in 8 bits with the rounding of the stream, whose gradient comes back to it in high precision."""
        x, stream = self.width.x * self.n * self.d, self.width.stream * self.n * self.d
        if self.is_int8:
            entering = Work(stream + x), Work(x + 4 * stream)
            middle, last = Work(2 * stream + 2 * x), Work(2 * stream + x)
            return Operator("residual", [entering[0], middle, last], [Work(stream + x), middle, entering[1]], saved=0)
        return Operator("residual", [Work(3 * x)] * 2, [Work(3 * x)] * 2, saved=0)

    def _boundary(self) -> Operator:
        """From 8 bits to attention and back; sums of the gradients of matrices that several products read."""
        x, attention, d = self.width.x * self.n, self.width.attention * self.n, self.d
        if not self.is_int8:
            num_sums = 3 if self.is_gated else 2
            return Operator("boundary", [], [Work(3 * x * d)] * num_sums, saved=0)
        crossing = [Work((x + attention) * width) for width in (self.e, self.g, self.g, self.e)]
        sums = [Work(4 * x * d), *([Work(3 * x * d)] if self.is_gated else [])]
        return Operator("boundary", crossing, [*crossing, *sums], saved=0)
