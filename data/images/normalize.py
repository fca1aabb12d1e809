"""Bytes to numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from data.images.options import NormalizeOptions
from data.images.pixels import ImageTransform, require_bytes
from data.sample import SampleError

PRESETS = {
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "half": ([0.5], [0.5]),
}
"Mean and standard deviation of each channel."


class Normalize(ImageTransform[NormalizeOptions]):
    """(x / 255 - mean) / std."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, H, W] float32."""
        require_bytes(image_CHW, "normalize", channels=(1, 3, 4))
        preset_mean, preset_std = PRESETS[self.options.preset]
        mean, std = self.options.mean or preset_mean, self.options.std or preset_std
        channels = image_CHW.shape[0]
        if not {len(mean), len(std)} <= {1, channels}:
            raise SampleError(
                f"normalize: {len(mean)} means and {len(std)} deviations for an image of {channels} channels; "
                "put rgb before normalize, or give mean and std for these channels"
            )
        # Contiguous first: what follows then takes half the time, and so does stacking into a batch.
        scaled = F.to_dtype(image_CHW.contiguous(), torch.float32, scale=True)
        normalized: Tensor = F.normalize(scaled, mean, std)
        return normalized
