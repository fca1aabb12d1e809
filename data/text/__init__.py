"""Text: tokenizers, and training sequences from packed tokens.

data.text.options     options of every text source
data.text.tokenizer   train, load and apply tokenizers
data.text.windows     windows over the concatenated documents of a shard
"""

__all__ = ["options", "tokenizer", "windows"]
