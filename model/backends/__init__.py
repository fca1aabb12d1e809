"""What computes softmax attention. One definition (`reference`), and faster ways held to it.

model.backends.backend     the interface; choosing one
model.backends.reference   the definition: every score, a dense mask, a softmax
model.backends.sdpa        torch's scaled_dot_product_attention
model.backends.gather      windows and blocks at the cost of what they see, on any device
model.backends.flex        torch's FlexAttention: block-sparse kernels written from the rule
model.backends.flash       the package flash-attn
"""

__all__ = ["backend", "flash", "flex", "gather", "reference", "sdpa"]
