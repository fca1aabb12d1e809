"""Options of embedders: fields of a batch -> tokens. Free of torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.options import Kind, Part

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


AnyEmbedder = Annotated[
    TextOptions | VectorsOptions | WaveformOptions | SpectrogramOptions,
    Kind(default="text"),
]
