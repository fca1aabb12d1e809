"""Changes of colour: jitter, grays, inversion; three channels out of any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from data.images.options import ColorJitterOptions, GrayscaleOptions, RgbOptions, SolarizeOptions
from data.images.pixels import ImageTransform, require_bytes


@dataclass(frozen=True)
class Jitter:
    """One draw of the jitter."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    order: tuple[int, ...]
    "A permutation of 0..3, which stand for the four above."


class ColorJitter(ImageTransform[ColorJitterOptions]):
    """Random brightness, contrast, saturation and hue, in random order."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, H, W] uint8."""
        require_bytes(image_CHW, "color_jitter")
        if generator.random() >= self.options.probability:
            return image_CHW
        jitter = self.draw(generator)
        for step in jitter.order:
            if step == 0 and self.options.brightness:
                image_CHW = F.adjust_brightness(image_CHW, jitter.brightness)
            elif step == 1 and self.options.contrast:
                image_CHW = F.adjust_contrast(image_CHW, jitter.contrast)
            elif step == 2 and self.options.saturation:
                image_CHW = F.adjust_saturation(image_CHW, jitter.saturation)
            elif step == 3 and self.options.hue:
                image_CHW = F.adjust_hue(image_CHW, jitter.hue)
        return image_CHW

    def draw(self, generator: np.random.Generator) -> Jitter:
        """The parameters for one image."""

        def factor(strength: float) -> float:
            return float(generator.uniform(max(0.0, 1 - strength), 1 + strength))

        return Jitter(
            brightness=factor(self.options.brightness),
            contrast=factor(self.options.contrast),
            saturation=factor(self.options.saturation),
            hue=float(generator.uniform(-self.options.hue, self.options.hue)),
            order=tuple(generator.permutation(4).tolist()),
        )


class Grayscale(ImageTransform[GrayscaleOptions]):
    """Colours to grays, sometimes."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, H, W] uint8, as many channels as before."""
        require_bytes(image_CHW, "grayscale")
        if generator.random() >= self.options.probability or image_CHW.shape[0] == 1:
            return image_CHW
        gray: Tensor = F.rgb_to_grayscale(image_CHW, num_output_channels=3)
        return gray


class Solarize(ImageTransform[SolarizeOptions]):
    """Values from a threshold on inverted, sometimes."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, H, W] uint8."""
        require_bytes(image_CHW, "solarize")
        if generator.random() >= self.options.probability:
            return image_CHW
        solarized: Tensor = F.solarize(image_CHW, float(self.options.threshold))
        return solarized


class Rgb(ImageTransform[RgbOptions]):
    """Three channels."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[3, H, W] uint8."""
        require_bytes(image_CHW, "rgb", channels=(1, 3, 4))
        if image_CHW.shape[0] == 4:
            color_CHW, alpha_HW = image_CHW[:3].to(torch.int32), image_CHW[3].to(torch.int32)
            # color * alpha + white * (1 - alpha) in integers, rounded.
            return ((color_CHW * alpha_HW + 255 * (255 - alpha_HW) + 127) // 255).to(torch.uint8)
        return image_CHW.expand(3, -1, -1)
