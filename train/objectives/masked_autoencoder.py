"""Masked autoencoding: predict the pixels of patches that the encoder does not see (He et al. 2022)."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from configs.errors import ConfigError, TrainingError
from configs.options import construct
from data.loader import Batch
from model.embedders.options import PatchesOptions
from model.options import TransformerOptions
from model.pixel_decoder import PixelDecoder, pixels_of
from model.transformer import Transformer
from train.objectives.objective import Objective
from train.objectives.options import MaskedAutoencoderOptions

_EPS = 1e-6
"Added to the variance of a patch's pixels, as in the authors' code."


class MaskedAutoencoder(Objective):
    """Batch: image [B, C, H, W] float32, mask [B, N] bool, True where masked, equally often in every row.

    Targets: every masked patch, its loss the mean squared error of its pixels.
    """

    fields = ("image", "mask")

    def __init__(self, options: MaskedAutoencoderOptions, model: TransformerOptions) -> None:
        super().__init__()
        self._patch = _patches(model).patch
        self._norm_pixels = options.norm_pixels
        self.transformer = cast(Transformer, construct(model))
        self.head = PixelDecoder(options.decoder, model)

    def num_targets(self, batch: Batch) -> int:
        images, masked_BN = batch["image"], batch["mask"]
        num_patches = images[0, 0].numel() // (self._patch[0] * self._patch[1])
        if masked_BN.shape[1] != num_patches:
            raise TrainingError(
                f"data: masks of {masked_BN.shape[1]} patches, but the images have {num_patches}; give the mask "
                "transform the images' size and model.embedder.patch_size."
            )
        counts = masked_BN.sum(1)
        if int(counts.min()) != int(counts.max()):
            raise TrainingError(
                f"data: rows with {int(counts.min())} to {int(counts.max())} masked patches in one batch; objective "
                "masked_autoencoder needs equally many, as the transform random_mask makes them."
            )
        return int(counts.sum())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        images, masked_BN = batch["image"], batch["mask"]
        keep_BK = (~masked_BN).nonzero()[:, 1].view(len(images), -1)
        hidden = self.transformer(images, keep_BK=keep_BK)
        predicted = self.head(hidden, keep_BK).float()
        errors_BN = (predicted - self._targets(images)).square().mean(-1)
        return {"loss": (errors_BN * masked_BN).sum()}

    def _targets(self, images: Tensor) -> Tensor:
        """The pixels of every patch, perhaps to mean 0 and variance 1."""
        pixels = pixels_of(images, self._patch)
        if not self._norm_pixels:
            return pixels
        return (pixels - pixels.mean(-1, keepdim=True)) / (pixels.var(-1, keepdim=True) + _EPS).sqrt()


def _patches(model: TransformerOptions) -> PatchesOptions:
    """The embedder of a model that sees images whole.

    Raises:
        ConfigError: when the model reads something else, or not all of it.
    """
    if not isinstance(model.embedder, PatchesOptions):
        raise ConfigError(f"objective masked_autoencoder: reads images; model.embedder is {model.embedder.kind}.")
    if model.visibility != "bidirectional":
        raise ConfigError(
            f"objective masked_autoencoder: patches have no order, and model.visibility is {model.visibility}; "
            "set model.visibility: bidirectional."
        )
    return model.embedder
