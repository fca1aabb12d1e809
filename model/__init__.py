"""One transformer, described by its parts.

Belongs here: everything between tokens and hidden states, and what surrounds a built model:
initial weights, generation, import and export. A part knows nothing of data files, losses, ranks or
optimizers.

Does not belong here: anything that imports `data` or `train`.

    model.options         `TransformerOptions`: the whole description, free of torch
    model.visibility      who may see whom: rules that compose with `&`
    model.positions       learned and rotary positions
    model.norm            layer norm and RMS norm
    model.attention       multi-head, grouped-query softmax attention
    model.feed_forward    plain and gated feed-forward
    model.block           attention + feed-forward, pre-norm
    model.transformer     embedding -> blocks -> final norm
    model.initialisation  initial weights as a pure function of (seed, name, shape)
    model.generate        sampling from next-token logits
    model.interop         Hugging Face configurations and weight names

Shape suffixes, everywhere in this room:

    B batch   T tokens   D model width   H heads   G key-value heads   K head width   F hidden width   V vocabulary
"""

__all__ = [
    "attention",
    "block",
    "feed_forward",
    "generate",
    "initialisation",
    "interop",
    "norm",
    "options",
    "positions",
    "transformer",
    "visibility",
]
