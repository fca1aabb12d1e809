"""How tokens exchange information: [B, T, D] -> [B, T, D].

model.mixers.options     options of all of them, free of torch
model.mixers.mixer       the interface: forward, stepwise with a state, the explicit mixing matrix
model.mixers.attention   softmax attention
"""

__all__ = ["attention", "mixer", "options"]
