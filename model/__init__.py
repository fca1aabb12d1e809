"""One transformer, described by its parts.

Belongs here: everything between tokens and hidden states, and what surrounds a built model:
initial weights, generation, import and export. A part knows nothing of data files, losses, ranks or
optimizers.

Does not belong here: anything that imports `data` or `train`.

    model.options         `TransformerOptions`: the whole description, free of torch
    model.tokens          `Tokens`: the hidden stream, and where its tokens stand
    model.embedders       fields of a batch -> tokens
    model.positions       learned, sinusoidal, rotary, biases
    model.visibility      who may see whom: rules that compose with `&` and `|`
    model.backends        what computes attention
    model.mixers          how tokens exchange information: attention, and what else there is
    model.norm            layer norm and RMS norm
    model.feed_forward    plain and gated feed-forward
    model.block           the residual branches of one block
    model.transformer     embedder -> blocks -> final norm
    model.two_tower       images and texts in one space
    model.codebooks       features -> entries of codebooks, and hidden states compared with them
    model.encoder_decoder an encoder, and a decoder that attends to it
    model.heads           hidden states -> predictions
    model.cross_entropy   the loss of a linear output layer, without holding all logits
    model.pixel_decoder   hidden states of some patches -> pixels of all
    model.int8            blocks whose operators exchange 8-bit matrices
    model.initialisation  initial weights as a pure function of (seed, name, shape)
    model.generate        sampling from next-token logits
    model.interop         Hugging Face configurations and weight names
    model.parameters      shapes and kinds of parameters
    model.selectors       patterns over names of parameters and modules
    model.surgery         edits before training: loading, freezing, adapters, prompts
    model.taps            what flows through a model, by name

Shape suffixes, everywhere in this room:

    B batch   T tokens   S keys   D model width   H heads   G key-value heads   K head width
    F hidden width   V vocabulary
"""

__all__ = [
    "backends",
    "block",
    "codebooks",
    "cross_entropy",
    "embedders",
    "encoder_decoder",
    "feed_forward",
    "generate",
    "heads",
    "initialisation",
    "int8",
    "interop",
    "mixers",
    "norm",
    "options",
    "parameters",
    "pixel_decoder",
    "positions",
    "selectors",
    "surgery",
    "taps",
    "tokens",
    "transformer",
    "two_tower",
    "visibility",
]
