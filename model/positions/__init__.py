"""Where tokens stand: embeddings of positions, rotation of queries and keys, biases on scores.

model.positions.options    options of all of them, free of torch
model.positions.absolute   added to the stream before the first block
model.positions.rotary     rotation of queries and keys
model.positions.biases     added to attention scores
model.positions.grid       places on a grid, and tables over one
model.positions.convolutional  the same, from a convolution over the stream
"""

__all__ = ["absolute", "biases", "convolutional", "grid", "options", "rotary"]
