"""Options of every objective. Free of torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.options import Kind, Part
from model.options import ContrastiveHeadOptions, PixelDecoderOptions
from train.schedule import AnySchedule, ExponentialSchedule


class CausalLMOptions(Part):
    """Predict each token from those before it in its document."""

    kind: Literal["causal_lm"] = "causal_lm"
    tied_head: bool = True
    "Whether the output layer is the token embedding (Press and Wolf 2017)."

    builds: ClassVar[str] = "train.objectives.causal_lm:CausalLM"


class MaskedAutoencoderOptions(Part):
    """Predict the pixels of masked patches from the others (He et al. 2022)."""

    kind: Literal["masked_autoencoder"] = "masked_autoencoder"
    decoder: PixelDecoderOptions = PixelDecoderOptions()
    "The transformer that predicts; the model is the encoder, which sees only patches that are not masked."
    norm_pixels: bool = True
    "Whether the pixels of each patch are brought to mean 0 and variance 1 before they are predicted."

    builds: ClassVar[str] = "train.objectives.masked_autoencoder:MaskedAutoencoder"


class Wav2Vec2Options(Part):
    """Tell masked frames of audio from distractors, both quantised (Baevski et al. 2020, wav2vec 2.0)."""

    kind: Literal["wav2vec2"] = "wav2vec2"
    head: ContrastiveHeadOptions = ContrastiveHeadOptions()
    "The codebooks, and the space of comparison."
    temperature: float = Field(default=0.1, gt=0)
    "Cosine similarities are divided by it."
    diversity_weight: float = Field(default=0.1, ge=0)
    "Weight of the loss that has all entries used."
    gumbel_temperature: float = Field(default=2.0, gt=0)
    "Highest temperature of the Gumbel softmax that draws entries in training."
    gumbel_schedule: AnySchedule = ExponentialSchedule(decay=0.999995, final=0.25)
    "Factor of it at each step."

    builds: ClassVar[str] = "train.objectives.wav2vec2:Wav2Vec2"


class PFNOptions(Part):
    """Predict the classes of a table's queried rows from its known rows (Müller et al. 2022, prior-data fitting)."""

    kind: Literal["pfn"] = "pfn"

    builds: ClassVar[str] = "train.objectives.pfn:PFN"


AnyObjective = Annotated[
    CausalLMOptions | MaskedAutoencoderOptions | Wav2Vec2Options | PFNOptions, Kind(default="causal_lm")
]
