"""Options of embedders: fields of a batch -> tokens. Free of torch."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from configs.options import Kind, Options, Part

Positive = Annotated[int, Field(gt=0)]
Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]


class Embedder(Part):
    """What every embedder says of itself."""

    @property
    def longest(self) -> int | None:
        """The longest sequence, where there is one."""
        return None

    @property
    def num_positions(self) -> int | None:
        """Rows of a table of learned positions; None: it cannot have one."""
        return self.longest

    @property
    def num_prefix(self) -> int:
        """Tokens in front that have no place."""
        return 0

    @property
    def num_prefix_positions(self) -> int:
        """Of those, how many at the front have a row in a table of learned positions."""
        return self.num_prefix

    @property
    def grid(self) -> tuple[int, ...] | None:
        """The grid that tokens stand on."""
        return None


class TextOptions(Embedder):
    """Token ids."""

    kind: Literal["text"] = "text"
    vocab_size: int = Field(gt=0)
    "Entries of the token embedding; at least the tokenizer's."
    max_length: int = Field(gt=0)
    "Longest sequence (tokens) the model is meant for; sizes learned positions."
    num_types: int = Field(default=0, ge=0)
    "Kinds of segments with a vector of their own (BERT: first and second sentence)."
    scaled: bool = False
    "Whether vectors are multiplied by sqrt(dim)."

    builds: ClassVar[str] = "model.embedders.text:TextEmbedder"

    @property
    def longest(self) -> int:
        return self.max_length


class VectorsOptions(Embedder):
    """Tokens that are vectors already: decoders of latents, stacks on top of another."""

    kind: Literal["vectors"] = "vectors"
    max_length: int | None = Field(default=None, gt=0)
    "Longest sequence; sizes learned positions."

    builds: ClassVar[str] = "model.embedders.vectors:VectorEmbedder"

    @property
    def longest(self) -> int | None:
        return self.max_length


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Pixels = Annotated[int, Field(gt=0)]
Sides = Annotated[Pixels | tuple[Pixels, Pixels], BeforeValidator(_as_tuple)]
"Pixels of a square's side, or [height, width]."
Volume = Annotated[tuple[Pixels, Pixels, Pixels], BeforeValidator(_as_tuple)]
"[frames, height, width]."


class PicturesOptions(Embedder):
    """What patches of images and of videos have in common."""

    channels: int = Field(default=3, gt=0)
    "Colour channels."
    cls: bool = True
    "A learned token in front, which stands for the whole (Devlin et al. 2019)."
    num_extra: int = Field(default=0, ge=0)
    "Further such tokens behind it (DeiT's distillation token), each with learned positions of its own."
    num_registers: int = Field(default=0, ge=0)
    "Learned tokens behind those, without positions (Darcet et al. 2024)."
    mask_token: bool = False
    "A learned vector that replaces masked patches (Bao et al. 2022)."
    bias: bool = True
    "Whether the projection of patches has a bias."

    builds: ClassVar[str] = "model.embedders.patches:PatchEmbedder"

    @property
    def whole(self) -> tuple[int, ...]:
        """Size of the input along each axis of the grid."""
        raise NotImplementedError

    @property
    def patch(self) -> tuple[int, ...]:
        """Size of a patch along each axis of the grid."""
        raise NotImplementedError

    @property
    def grid(self) -> tuple[int, ...]:
        return tuple(size // side for size, side in zip(self.whole, self.patch, strict=True))

    @property
    def num_positions(self) -> int:
        return math.prod(self.grid)

    @property
    def num_prefix(self) -> int:
        return self.num_prefix_positions + self.num_registers

    @property
    def num_prefix_positions(self) -> int:
        return int(self.cls) + self.num_extra

    @model_validator(mode="after")
    def _check_grid(self) -> Self:
        if any(size % side for size, side in zip(self.whole, self.patch, strict=True)):
            raise ValueError(f"size {list(self.whole)} is not a multiple of the patch {list(self.patch)}; change one")
        return self


class PatchesOptions(PicturesOptions):
    """Images, in square patches that do not overlap (Dosovitskiy et al. 2021, section 3.1)."""

    kind: Literal["patches"] = "patches"
    image_size: Sides = 224
    "Side of the images the model is meant for, or [height, width]; sizes learned positions."
    patch_size: Sides = 16
    "Side of a patch, or [height, width]."

    @property
    def whole(self) -> tuple[int, ...]:
        return both_sides(self.image_size)

    @property
    def patch(self) -> tuple[int, ...]:
        return both_sides(self.patch_size)


class TubeletsOptions(PicturesOptions):
    """Videos, in boxes of a few frames each that do not overlap (Arnab et al. 2021, section 3.2)."""

    kind: Literal["tubelets"] = "tubelets"
    video_size: Volume = (16, 224, 224)
    "[frames, height, width] of the videos the model is meant for; sizes learned positions."
    tubelet_size: Volume = (2, 16, 16)
    "[frames, height, width] of a box."
    cls: bool = False
    "A learned token in front, which stands for the whole (Devlin et al. 2019)."

    @property
    def whole(self) -> tuple[int, ...]:
        return self.video_size

    @property
    def patch(self) -> tuple[int, ...]:
        return self.tubelet_size


def both_sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of `Sides`."""
    return size if isinstance(size, tuple) else (size, size)


class WaveformOptions(Embedder):
    """Raw waveforms: strided convolutions without padding, a norm, a projection (Baevski et al. 2020, section 2).

    The defaults are the feature encoder of wav2vec 2.0 and HuBERT: a frame every 320 samples, 400 samples wide.
    """

    kind: Literal["waveform"] = "waveform"
    widths: list[Positive] = Field(default=[512] * 7, min_length=1)
    "Channels after each convolution; the last is the width C of the features."
    kernels: list[Positive] = [10, 3, 3, 3, 3, 2, 2]
    "Kernel size of each."
    strides: list[Positive] = [5, 2, 2, 2, 2, 2, 2]
    "Stride of each."
    conv_bias: bool = False
    "Whether convolutions have biases."
    conv_norm: Literal["group", "layer"] = "group"
    """group: every channel of the first convolution is normalised over the whole row, padding included (base models).
    layer: every frame after each convolution (large models); no frame then depends on the padding."""
    activation: Activation = "gelu"
    "After each convolution."
    feature_norm: bool = True
    "Whether features are normalised before the projection."
    norm_eps: float = Field(default=1e-5, gt=0)
    "Of that norm."
    dropout: float = Field(default=0.0, ge=0, lt=1)
    "Dropout after the projection."
    mask_token: bool = False
    "Whether there is a vector that stands for masked frames."

    builds: ClassVar[str] = "model.embedders.waveform:WaveformEmbedder"

    @model_validator(mode="after")
    def _check_convolutions(self) -> Self:
        counts = {len(self.widths), len(self.kernels), len(self.strides)}
        if len(counts) > 1:
            raise ValueError(
                f"widths, kernels and strides: expected as many of each, found {len(self.widths)}, "
                f"{len(self.kernels)}, {len(self.strides)}"
            )
        return self


class SpectrogramOptions(Embedder):
    """Log mel spectrograms: two convolutions, the second with stride 2 (Radford et al. 2022, section 2.2)."""

    kind: Literal["spectrogram"] = "spectrogram"
    num_bands: int = Field(default=80, gt=0)
    "Mel bands F."
    max_length: int = Field(default=1500, gt=0)
    "Longest sequence (tokens: every second frame); sizes learned positions."

    builds: ClassVar[str] = "model.embedders.spectrogram:SpectrogramEmbedder"

    @property
    def longest(self) -> int | None:
        return self.max_length


class TableOptions(Embedder):
    """What embedders of tables have in common."""

    max_features: int = Field(gt=0)
    "Most feature columns; narrower tables are padded."
    max_classes: int = Field(ge=2)
    "Most classes."
    clip: float = Field(default=5.0, gt=0)
    "Largest magnitude of a standardised feature."


class TableRowsOptions(TableOptions):
    """Tables, one token per row (Hollmann et al. 2023, TabPFN)."""

    kind: Literal["table_rows"] = "table_rows"

    builds: ClassVar[str] = "model.embedders.table_rows:TableRowEmbedder"


class TableCellsOptions(TableOptions):
    """Tables, one token per cell (Hollmann et al. 2025, TabPFN v2); for `axial` mixers."""

    kind: Literal["table_cells"] = "table_cells"

    builds: ClassVar[str] = "model.embedders.table_cells:TableCellEmbedder"


class TupleElement(Options):
    """One element of every tuple: a vector of numbers, or a category."""

    width: int = Field(default=1, gt=0)
    "How many numbers."
    classes: int | None = Field(default=None, gt=0)
    "How many categories, where it is one."


class TuplesOptions(Embedder):
    """Sequences of tuples: (x, y) of a regression task, (state, action, reward) of a decision process."""

    kind: Literal["tuples"] = "tuples"
    elements: dict[str, TupleElement] = Field(min_length=1)
    "The elements by the names of their fields, in the order in which a model sees them."
    max_length: int | None = Field(default=None, gt=0)
    "Most tuples; sizes learned positions."

    builds: ClassVar[str] = "model.embedders.tuples:TupleEmbedder"

    @property
    def num_positions(self) -> int | None:
        return self.max_length and self.max_length * len(self.elements)


AnyEmbedder = Annotated[
    TextOptions
    | VectorsOptions
    | PatchesOptions
    | TubeletsOptions
    | WaveformOptions
    | SpectrogramOptions
    | TableRowsOptions
    | TableCellsOptions
    | TuplesOptions,
    Kind(default="text"),
]
