"""Documents of any format -> token ids.

data.packing.text.packer      documents -> tokens, labels, a tokenizer
data.packing.text.options     its options
data.packing.text.documents   where text comes from: the standard library, folders, files, data sets
data.packing.text.readers     a file -> its texts, by format
"""

__all__ = ["documents", "options", "packer", "readers"]
