"""Images: decoding, crops, flips, colour, views and masks.

Belongs here: what turns one image of a sample into others, or adds a mask over its patches. Options
import neither torch nor Pillow; decoding, encoding and thumbnails do not import torch.

Does not belong here: mixing the images of a batch (mixup, cutmix); patch embedding.

    data.images.options        options of every image transform; `AnyImageTransform`
    data.images.mask_options   options of the mask samplers
    data.images.option_types   ranges and sizes in options
    data.images.decode         encoded images -> arrays
    data.images.encode         arrays -> encoded images
    data.images.pixels         `ImageTransform`: what transforms share
    data.images.crops          resize, centre crop, random crops
    data.images.flips          mirror images
    data.images.colors         jitter, grays, solarize, three channels
    data.images.blur           Gaussian blur
    data.images.rand_augment   RandAugment
    data.images.erasing        random erasing
    data.images.normalize      bytes to numbers
    data.images.views          several views of one image, in groups
    data.images.masks          masks over patches: drawn alone, or in blocks
    data.images.multi_block    context and target blocks
    data.images.thumbnail      images in a terminal
"""

__all__ = [
    "blur",
    "colors",
    "crops",
    "decode",
    "encode",
    "erasing",
    "flips",
    "mask_options",
    "masks",
    "multi_block",
    "normalize",
    "option_types",
    "options",
    "pixels",
    "rand_augment",
    "thumbnail",
    "views",
]
