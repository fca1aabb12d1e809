"""Blocks whose operators exchange 8-bit matrices (Xi et al. 2024): less to move, and less to keep for backward.

model.int8.arithmetic    the steps of operators: definitions, and the choice of kernels
model.int8.block         a block as one flow of such matrices
model.int8.kernels       the operators in Triton
model.int8.operators     what a block is made of, forward and backward
model.int8.options       how matrices are held, and which blocks can take part
model.int8.philox        random numbers as a function of their place
model.int8.quant_tensor  matrices of integers with one scale for every tile
"""

__all__ = ["arithmetic", "block", "kernels", "operators", "options", "philox", "quant_tensor"]
