"""What computes softmax attention. One definition (`reference`), and faster ways held to it.

model.backends.backend     the interface; choosing one
model.backends.reference   the definition: every score, a dense mask, a softmax
model.backends.sdpa        torch's scaled_dot_product_attention
"""

__all__ = ["backend", "reference", "sdpa"]
