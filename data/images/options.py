"""Options of every image transform. Free of heavy imports.

Defaults are those of the papers, or of torchvision where it has the transform.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.options import Kind, Options, Part
from data.images.mask_options import BlockMaskOptions, MultiBlockMaskOptions, RandomMaskOptions
from data.images.option_types import Probability, Range, Size, require_positive

Interpolation = Literal["bilinear", "bicubic"]


class ImageOptions(Part):
    """What every transform of one image has."""

    field: str = "image"
    "The field that is transformed."


class ResizeOptions(ImageOptions):
    """Change the size of the image."""

    kind: Literal["resize"] = "resize"
    size: Size
    "Pixels of the shorter side, the other in proportion; or [height, width], whatever the proportions."
    interpolation: Interpolation = "bilinear"
    "How pixels are interpolated."
    antialias: bool = True
    "Average over all pixels behind a new one when the image shrinks."

    builds: ClassVar[str] = "data.images.crops:Resize"


class RandomResizedCropOptions(ImageOptions):
    """A crop of random area and aspect ratio, resized (Szegedy et al. 2015)."""

    kind: Literal["random_resized_crop"] = "random_resized_crop"
    size: Size
    "Side of the result, or [height, width]."
    scale: Range = (0.08, 1.0)
    "Share of the image's area that is cropped."
    ratio: Range = (3 / 4, 4 / 3)
    "Width over height of the crop, uniform in its logarithm."
    interpolation: Interpolation = "bilinear"
    "How pixels are interpolated."
    antialias: bool = True
    "Average over all pixels behind a new one when the crop shrinks."

    builds: ClassVar[str] = "data.images.crops:RandomResizedCrop"

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        require_positive("scale", self.scale, 1)
        require_positive("ratio", self.ratio)
        return self


class CenterCropOptions(ImageOptions):
    """The middle of the image."""

    kind: Literal["center_crop"] = "center_crop"
    size: Size
    "Side of the result, or [height, width]. Smaller images are an error: resize first."

    builds: ClassVar[str] = "data.images.crops:CenterCrop"


class RandomCropOptions(ImageOptions):
    """A crop of fixed size at a random place."""

    kind: Literal["random_crop"] = "random_crop"
    size: Size
    "Side of the result, or [height, width]."
    padding: int = Field(default=0, ge=0)
    "Pixels added on every side before cropping (CIFAR: 4)."
    padding_mode: Literal["constant", "edge", "reflect", "symmetric"] = "constant"
    "What they are; constant is black."

    builds: ClassVar[str] = "data.images.crops:RandomCrop"


class HorizontalFlipOptions(ImageOptions):
    """Left and right exchanged."""

    kind: Literal["horizontal_flip"] = "horizontal_flip"
    probability: Probability = 0.5
    "Share of the images that are flipped."

    builds: ClassVar[str] = "data.images.flips:HorizontalFlip"


class VerticalFlipOptions(ImageOptions):
    """Top and bottom exchanged."""

    kind: Literal["vertical_flip"] = "vertical_flip"
    probability: Probability = 0.5
    "Share of the images that are flipped."

    builds: ClassVar[str] = "data.images.flips:VerticalFlip"


class ColorJitterOptions(ImageOptions):
    """Random brightness, contrast, saturation and hue, in random order (SimCLR: 0.8, 0.8, 0.8, 0.2)."""

    kind: Literal["color_jitter"] = "color_jitter"
    brightness: float = Field(default=0.4, ge=0)
    "The factor is uniform in [max(0, 1 - brightness), 1 + brightness]."
    contrast: float = Field(default=0.4, ge=0)
    "The factor is uniform in [max(0, 1 - contrast), 1 + contrast]."
    saturation: float = Field(default=0.2, ge=0)
    "The factor is uniform in [max(0, 1 - saturation), 1 + saturation]."
    hue: float = Field(default=0.1, ge=0, le=0.5)
    "The shift is uniform in [-hue, hue], in turns of the colour circle."
    probability: Probability = 0.8
    "Share of the images that are changed."

    builds: ClassVar[str] = "data.images.colors:ColorJitter"


class GrayscaleOptions(ImageOptions):
    """Colours to grays; the number of channels stays."""

    kind: Literal["grayscale"] = "grayscale"
    probability: Probability = 0.2
    "Share of the images that are changed."

    builds: ClassVar[str] = "data.images.colors:Grayscale"


class SolarizeOptions(ImageOptions):
    """Invert the values from a threshold on (BYOL, Grill et al. 2020)."""

    kind: Literal["solarize"] = "solarize"
    threshold: int = Field(default=128, ge=0, le=255)
    "Least value that is inverted."
    probability: Probability = 0.2
    "Share of the images that are changed."

    builds: ClassVar[str] = "data.images.colors:Solarize"


class GaussianBlurOptions(ImageOptions):
    """Convolution with a Gaussian of random width (SimCLR, Chen et al. 2020)."""

    kind: Literal["gaussian_blur"] = "gaussian_blur"
    kernel_size: int = Field(default=23, gt=0)
    "Pixels of the kernel's side, odd; SimCLR takes a tenth of the image's."
    sigma: Range = (0.1, 2.0)
    "Standard deviation in pixels."
    probability: Probability = 0.5
    "Share of the images that are blurred."

    builds: ClassVar[str] = "data.images.blur:GaussianBlur"

    @model_validator(mode="after")
    def _check_kernel(self) -> Self:
        require_positive("sigma", self.sigma)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: expected an odd number, found {self.kernel_size}")
        return self


class RandAugmentOptions(ImageOptions):
    """Operations drawn from fourteen, all of one strength (Cubuk et al. 2020)."""

    kind: Literal["rand_augment"] = "rand_augment"
    num_ops: int = Field(default=2, ge=0)
    "Operations applied one after the other."
    magnitude: int = Field(default=9, ge=0, le=30)
    "Their strength, of 30."
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    "How shears, shifts and rotations interpolate."
    fill: int = Field(default=128, ge=0, le=255)
    "The value of pixels that come from outside the image."

    builds: ClassVar[str] = "data.images.rand_augment:RandAugment"


class RandomErasingOptions(ImageOptions):
    """Overwrite a random rectangle (Zhong et al. 2020)."""

    kind: Literal["random_erasing"] = "random_erasing"
    probability: Probability = 0.5
    "Share of the images in which one is overwritten."
    scale: Range = (0.02, 0.33)
    "Its share of the image's area."
    ratio: Range = (0.3, 3.3)
    "Its height over its width, uniform in its logarithm."
    value: float | Literal["random"] = 0.0
    "What is written; 'random': standard normal noise (uniform bytes before `normalize`)."

    builds: ClassVar[str] = "data.images.erasing:RandomErasing"

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        require_positive("scale", self.scale, 1)
        require_positive("ratio", self.ratio)
        return self


class NormalizeOptions(ImageOptions):
    """Bytes to numbers: [H, W, C] uint8 -> [C, H, W] float32, (x / 255 - mean) / std."""

    kind: Literal["normalize"] = "normalize"
    preset: Literal["imagenet", "half"] = "imagenet"
    "'imagenet': the colours' mean and deviation over ImageNet; 'half': 0.5 and 0.5, so values lie in [-1, 1]."
    mean: list[float] | None = Field(default=None, min_length=1)
    "One for each channel, or one for all, instead of the preset's."
    std: list[float] | None = Field(default=None, min_length=1)
    "One for each channel, or one for all, instead of the preset's."

    builds: ClassVar[str] = "data.images.normalize:Normalize"

    @model_validator(mode="after")
    def _check_statistics(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std belong together; give both, or neither to take the preset's")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std: expected values above 0, found {self.std}")
        return self


class RgbOptions(ImageOptions):
    """Three channels, whatever there were: gray is repeated, transparency laid over white."""

    kind: Literal["rgb"] = "rgb"

    builds: ClassVar[str] = "data.images.colors:Rgb"


PixelTransform = (
    ResizeOptions
    | RandomResizedCropOptions
    | CenterCropOptions
    | RandomCropOptions
    | HorizontalFlipOptions
    | VerticalFlipOptions
    | ColorJitterOptions
    | GrayscaleOptions
    | SolarizeOptions
    | GaussianBlurOptions
    | RandAugmentOptions
    | RandomErasingOptions
    | NormalizeOptions
    | RgbOptions
)


class ViewsOptions(Options):
    """Views of one kind."""

    count: int = Field(default=1, gt=0)
    "How many."
    transforms: list[
        Annotated[PixelTransform | RandomMaskOptions | BlockMaskOptions | MultiBlockMaskOptions, Kind()]
    ] = Field(min_length=1)
    "What makes one of the image, in order. All views of the group must come out in one size."


class MultiCropOptions(ImageOptions):
    """Several views of one image, in groups (SwAV, Caron et al. 2020; DINO, 2021; SimCLR, MoCo, BYOL).

    Every group adds `views_NAME` [count, ...] (and `mask_NAME`, where its transforms make a mask); the image
    is dropped.
    """

    kind: Literal["multi_crop"] = "multi_crop"
    views: dict[str, ViewsOptions] = Field(min_length=1)
    "The groups by name, such as global (2 of 224 pixels) and local (8 of 96)."

    builds: ClassVar[str] = "data.images.views:MultiCrop"

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        bad = [name for name in self.views if not name.isidentifier()]
        if bad:
            raise ValueError(f"views: {bad[0]!r} cannot be part of a field's name; use letters, digits and _")
        return self


AnyImageTransform = PixelTransform | MultiCropOptions | RandomMaskOptions | BlockMaskOptions | MultiBlockMaskOptions
