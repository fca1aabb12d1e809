"""Hugging Face formats: a family is a table of names and a mapping of the configuration.

model.interop.families   which family a model belongs to, and why not
model.interop.gpt2       learned positions, layer norm, GELU
model.interop.llama      rotary positions, RMS norm, SwiGLU
"""

__all__ = ["families", "gpt2", "llama"]
