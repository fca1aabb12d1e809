"""Byte-level BPE tokenizers, by the `tokenizers` library: train, load, apply."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"
"Ends every packed document, and starts generation from nothing."


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of `vocab_size` entries (bytes and END_OF_TEXT included); lossless on any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size < len(alphabet) + 1:
        raise DataError(
            f"--vocab-size {vocab_size}: expected at least {len(alphabet) + 1} (every byte and the end of text)."
        )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer stored in a tokenizer.json.

    Raises:
        DataError: when the file is missing or not a tokenizer, or has no END_OF_TEXT.
    """
    from tokenizers import Tokenizer

    if not Path(path).is_file():
        raise DataError(f"{path}: no such tokenizer. Correct the key data.tokenizer, or pack the corpus first.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{path}: not a tokenizer.json: {error}") from None
    if tokenizer.token_to_id(END_OF_TEXT) is None:
        raise DataError(f"{path}: has no token {END_OF_TEXT}, which ends every document.")
    return tokenizer
