"""What a block is made of, taking and giving 8-bit matrices, forward and backward.

The steps are those of `model.int8.arithmetic`. Forward results are rounded to nearest, everything that backward makes
at random and without bias (Xi et al. 2024, section 4.2). Each operator's `noise` is for its backward alone. What is
kept for backward is 8-bit too.

model.int8.operators.wire        what passes between operators, and how autograd carries it
model.int8.operators.boundary    from and to high precision; one matrix for several operators
model.int8.operators.linear      X W^T + b, and its two products backward
model.int8.operators.norm        layer norm and RMS norm, with statistics that came with the matrix
model.int8.operators.activation  activations, plain and gated
model.int8.operators.dropout     dropout
model.int8.operators.residual    the addition to the stream
"""

__all__ = ["activation", "boundary", "dropout", "linear", "norm", "residual", "wire"]
