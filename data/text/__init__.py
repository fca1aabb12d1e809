"""Text: tokenizers, and training sequences from packed tokens.

data.text.options             options of every text source
data.text.tokenizer           load and train tokenizers
data.text.tokenizer_training  how each kind of tokenizer is made
data.text.token_shards        token ranges of documents in shards; pieces of a given size
data.text.windows             windows over the concatenated documents of a shard
data.text.best_fit            best-fit-decreasing bin packing, whole groups of equal items at once
data.text.packed              rows of whole documents, packed without truncation
data.text.documents           one document per row
data.text.sentence_pairs      two spans, and whether the second follows the first
data.text.prefix_target       documents cut into a prefix and a target
data.text.token_pairs         samples of two token arrays (translations, summaries)
"""

__all__ = [
    "best_fit",
    "documents",
    "options",
    "packed",
    "prefix_target",
    "sentence_pairs",
    "token_pairs",
    "token_shards",
    "tokenizer",
    "tokenizer_training",
    "windows",
]
