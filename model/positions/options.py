"""Options of positions. Free of torch.

Absolute positions are added to the stream before the first block; the others act inside the mixers.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.options import Kind, Options, Part
from model.embedders.options import Activation


class NoPositions(Part):
    """None."""

    kind: Literal["none"] = "none"


class LearnedPositions(Part):
    """A vector for every place, added to the stream. On a grid of another size they are interpolated."""

    kind: Literal["learned"] = "learned"
    offset: int = Field(default=0, ge=0)
    "Unused rows at the start of the table (RoBERTa and BART have 2)."
    antialias: bool = False
    "Whether interpolation for a smaller grid averages over all places behind a new one."

    builds: ClassVar[str] = "model.positions.absolute:LearnedPositions"


class SinusoidalPositions(Part):
    """Fixed sines and cosines, added to the stream (Vaswani et al. 2017, section 3.5)."""

    kind: Literal["sinusoidal"] = "sinusoidal"
    layout: Literal["halves", "interleaved"] = "halves"
    "All sines, then all cosines; or in turn, as in the paper."
    base: float = Field(default=10000.0, gt=0)
    "Base of the frequencies."
    last_axis_first: bool = False
    "On a grid, the shares of the axes from the last to the first: columns before rows, as in MAE's weights."

    builds: ClassVar[str] = "model.positions.absolute:SinusoidalPositions"


class ConvolutionalPositions(Part):
    """A grouped convolution over the stream, weight-normalised, added to it (Mohamed et al. 2019; Baevski et al. 2020).

    Rows hold one document each, and every token sees all others: the convolution reaches over both sides.
    """

    kind: Literal["convolutional"] = "convolutional"
    kernel: int = Field(default=128, gt=0)
    "Tokens that it reaches over."
    groups: int = Field(default=16, gt=0)
    "Groups of channels, each convolved by itself; a divisor of the width."
    activation: Activation = "gelu"
    "After the convolution."

    builds: ClassVar[str] = "model.positions.convolutional:ConvolutionalPositions"


class RotaryScaling(Options):
    """Slower rotation for texts longer than those first trained on (Dubey et al. 2024, section 3.4.2; Llama 3.1).

    Frequencies of more than `high_factor` turns in `original_length` stay, those of less than `low_factor` turns are
    divided by `factor`, and those between are interpolated.
    """

    factor: float = Field(gt=0)
    "What slow frequencies are divided by."
    low_factor: float = Field(default=1.0, gt=0)
    "Turns in the original length below which a frequency is slow."
    high_factor: float = Field(default=4.0, gt=0)
    "Turns in the original length above which a frequency is fast."
    original_length: int = Field(gt=0)
    "Longest text (tokens) of the first training."

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.high_factor <= self.low_factor:
            raise ValueError(f"high_factor {self.high_factor} must be larger than low_factor {self.low_factor}")
        return self


class RotaryPositions(Part):
    """Rotation of queries and keys (Su et al. 2021). On a grid, every axis has its share of the head width."""

    kind: Literal["rotary"] = "rotary"
    base: float = Field(default=10000.0, gt=0)
    "Base of the frequencies."
    scaling: RotaryScaling | None = None
    "For texts longer than those first trained on."


class AlibiPositions(Part):
    """A penalty on scores, linear in the distance, with a slope for every head (Press et al. 2022)."""

    kind: Literal["alibi"] = "alibi"

    builds: ClassVar[str] = "model.positions.biases:AlibiBias"


class RelativePositions(Part):
    """A learned bias on scores for every head and bucket of distances, shared by all layers (Raffel et al. 2020)."""

    kind: Literal["relative"] = "relative"
    num_buckets: int = Field(default=32, gt=1)
    "Buckets: half of them for one place each, the others logarithmic."
    max_distance: int = Field(default=128, gt=1)
    "Distances from here on share the last bucket."

    builds: ClassVar[str] = "model.positions.biases:RelativeBias"


class GridBiasPositions(Part):
    """A learned bias on scores for every head and pair of offsets on a grid (Liu et al. 2021, section 3.2; BEiT).

    On a grid of another size the table is interpolated bilinearly.
    """

    kind: Literal["grid_bias"] = "grid_bias"
    shared: bool = False
    "Whether all blocks share one table."

    builds: ClassVar[str] = "model.positions.biases:GridBias"


AnyPositions = Annotated[
    NoPositions
    | LearnedPositions
    | SinusoidalPositions
    | RotaryPositions
    | AlibiPositions
    | RelativePositions
    | GridBiasPositions
    | ConvolutionalPositions,
    Kind(),
]
