"""The 8-bit data flow in a recipe, and what it can take part in. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from configs.options import Options
from model.mixers.options import AttentionOptions
from model.options import BlockOptions, TransformerOptions

CURVES = {"gelu": "gelu", "silu": "silu", "geglu": "gelu", "swiglu": "silu"}
"The activation inside each feed-forward layer that there is in 8 bits."
_NEAREST = {"relu": "gelu", "gelu_tanh": "gelu", "quick_gelu": "gelu", "reglu": "geglu", "geglu_tanh": "geglu"}


class Int8Options(Options):
    """How matrices are held between operators where `precision` is int8 (Xi et al. 2024, section 4)."""

    tile: Literal["square", "token", "channel", "tensor"] = "square"
    "What shares a scale: 32 x 32 numbers; or, for comparison, a row, a column, the whole matrix."
    bits: int = Field(default=8, ge=2, le=8)
    "Of the integers: fewer are for comparison, and take 8 all the same."
    around: Literal["auto", "bf16"] = "auto"
    """What is not in 8 bits (attention, the stream, the head), over float32 weights. auto: bf16 on GPUs, and float32 on
    CPUs, where bf16 is slower; bf16: on CPUs too."""
    kernels: Literal["auto", "plain", "triton"] = "auto"
    """What computes. plain: the definitions, in PyTorch. triton: kernels, which need the package triton, a CUDA device,
    8 bits and square tiles. auto: kernels where these are, else plain."""


def require_int8(models: Iterable[TransformerOptions]) -> None:
    """Check that all blocks that are to be in 8 bits can be.

    Raises:
        ValueError: naming the block, what it has, and what it could have.
    """
    found = False
    for model in models:
        for number, block in enumerate(model.blocks):
            if block.int8:
                found = True
                objection = next(_objections(block), None)
                if objection is not None:
                    raise ValueError(f"precision=int8: block {number} has {objection}, or int8: false for such blocks")
    if not found:
        raise ValueError("precision=int8: every block of the model has int8: false; take bf16 or float32")


def require_block(block: BlockOptions) -> None:
    """Check that there is such a block in 8 bits.

    Raises:
        ValueError: naming what it has, and what it could have.
    """
    objection = next(_objections(block), None)
    if objection is not None:
        raise ValueError(f"the block has {objection}")


def _objections(block: BlockOptions) -> Iterator[str]:
    if type(block.mixer) is not AttentionOptions:
        yield f"the mixer {block.mixer.kind}; an 8-bit block has attention"
    if block.norm_place != "pre":
        yield f"norm_place: {block.norm_place}; an 8-bit block has norm_place: pre"
    if not block.mixer_norm:
        yield "mixer_norm: false; an 8-bit block has mixer_norm: true"
    if block.parallel:
        yield "parallel: true; an 8-bit block has parallel: false"
    if block.cross:
        yield "cross: true; an 8-bit block attends to its own tokens alone (cross: false)"
    if block.layer_scale is not None:
        yield f"layer_scale: {block.layer_scale}; an 8-bit block has none"
    if block.feed_forward not in CURVES:
        nearest = _NEAREST.get(block.feed_forward, "gelu")
        yield f"feed_forward: {block.feed_forward}; an 8-bit block has {nearest} ({', '.join(CURVES)} are there)"
