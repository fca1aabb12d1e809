"""Triton kernels that do what the definitions do, on 32 x 32 tiles of 8 bits. Speed on GPUs is untested.

Importing these modules needs the package triton; `model.int8` without them does not.

model.int8.kernels.arithmetic  device functions: rounding a tile, uniform noise
model.int8.kernels.quantise    high precision -> integers and scales, and back
model.int8.kernels.product     integer products with a scale for every step
"""

__all__ = ["arithmetic", "product", "quantise"]
