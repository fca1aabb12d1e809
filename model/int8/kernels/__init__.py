"""Triton kernels that do what the definitions do, on 32 x 32 tiles of 8 bits. Speed on GPUs is untested.

Importing these modules needs the package triton; `model.int8` without them does not.

model.int8.kernels.steps        every step of `model.int8.arithmetic`, by the kernels below
model.int8.kernels.arithmetic   device functions: reading and rounding a tile, uniform noise
model.int8.kernels.quantise     high precision -> integers and scales, and back
model.int8.kernels.product      integer products with a scale for every step
model.int8.kernels.elementwise  what depends on one place: activations, dropout, sums, norms whose statistics are known
model.int8.kernels.rows         what needs whole rows or columns: statistics, gradients of norms, sums of columns
"""

__all__ = ["arithmetic", "elementwise", "product", "quantise", "rows", "steps"]
