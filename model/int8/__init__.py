"""Blocks whose operators exchange 8-bit matrices (Xi et al. 2024): less to move, and less to keep for backward.

model.int8.philox        random numbers as a function of their place
model.int8.quant_tensor  matrices of integers with one scale for every tile
"""

__all__ = ["kernels", "operators", "philox", "quant_tensor"]
