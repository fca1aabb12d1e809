"""Options of every objective. Free of torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from configs.options import Kind, Part
from model.options import PixelDecoderOptions


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


AnyObjective = Annotated[CausalLMOptions | MaskedAutoencoderOptions, Kind(default="causal_lm")]
