"""Fields of a batch -> tokens: one embedder for every kind of input.

An embedder's `forward` takes the fields of a batch and returns `model.tokens.Tokens`: vectors of the model's width,
and where they stand. Positions are not added here: the transformer does that, the same way for all.

    model.embedders.learned   learned vectors at fixed places
    model.embedders.options   options of all of them, free of torch
    model.embedders.patches   images and videos
    model.embedders.text      token ids
    model.embedders.vectors   vectors as they are
    model.embedders.waveform      samples of audio
    model.embedders.spectrogram   log mel energies
    model.embedders.table_rows      tables, one token per row
    model.embedders.table_cells     tables, one token per cell
    model.embedders.table_scaling   what both know of a table's features
    model.embedders.tuples          (x, y) pairs, (state, action, reward) triples
"""

__all__ = [
    "learned",
    "options",
    "patches",
    "spectrogram",
    "table_cells",
    "table_rows",
    "table_scaling",
    "text",
    "tuples",
    "vectors",
    "waveform",
]
