"""How tokens exchange information: [B, T, D] -> [B, T, D].

model.mixers.options     options of all of them, free of torch
model.mixers.mixer       the interface: forward, stepwise with a state, the explicit mixing matrix
model.mixers.attention   softmax attention
model.mixers.axial       softmax attention along one axis of a grid
"""

__all__ = ["attention", "axial", "mixer", "options"]
