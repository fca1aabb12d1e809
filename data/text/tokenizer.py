"""Tokenizers, by the `tokenizers` library: load what a tokenizer.json holds, train new ones.

    kind        what it is                                                        lossless
    byte_bpe    merges of bytes (GPT-2)                                           yes
    bytes       every byte is a token (ByT5); nothing is trained                  yes
    bpe         merges of characters, rare characters as bytes (Llama)            but for one leading space
    unigram     likeliest pieces (Kudo 2018), rare characters as bytes (T5)       but for one leading space
    wordpiece   lower-cased words and parts of words (BERT)                       no

bpe and unigram write spaces as U+2581, and read that character back as a space.

`data.text.tokenizer_training` has the training of each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from configs.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"
"Ends every packed document, and starts generation from nothing."

TokenizerKind = Literal["byte_bpe", "bytes", "bpe", "unigram", "wordpiece"]


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    *,
    kind: TokenizerKind = "byte_bpe",
    special_tokens: Sequence[str] = (),
) -> Tokenizer:
    """A tokenizer of `vocab_size` entries, END_OF_TEXT and `special_tokens` (such as <mask>) included.

    The same texts give the same tokenizer. `bytes` has as many entries as it needs, whatever `vocab_size`
    is. `bpe` and `wordpiece` read the texts twice: an iterator, which cannot be, is kept in memory for them.

    Raises:
        DataError: when `vocab_size` is too small, or a special token is empty or given twice.
    """
    from data.text.tokenizer_training import TRAINERS

    special = [END_OF_TEXT, *special_tokens]
    if not all(special) or len(set(special)) < len(special):
        raise DataError(
            f"special tokens {', '.join(map(repr, special_tokens))}: expected different ones, none of them empty "
            f"or {END_OF_TEXT}, which every tokenizer has."
        )
    return TRAINERS[kind](texts, vocab_size, special)


def load_tokenizer(path: str | Path, *, end_of_text: str = END_OF_TEXT) -> Tokenizer:
    """The tokenizer stored in a tokenizer.json, whoever made it.

    Args:
        path: the file.
        end_of_text: its token that ends a document, such as </s> or [SEP].

    Raises:
        DataError: when the file is missing or not a tokenizer, or has no such token.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such tokenizer. Correct the key data.tokenizer, or pack the corpus first.")
    tokenizer = read_tokenizer(path)
    if tokenizer.token_to_id(end_of_text) is None:
        special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
        raise DataError(
            f"{path}: has no token {end_of_text}, which ends every document. Name the one that does"
            + (f"; its special tokens are {' '.join(special)}." if special else ".")
        )
    return tokenizer


def read_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json that exists, whatever its special tokens are.

    Raises:
        DataError: when the file holds something else.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{path}: not a tokenizer.json: {error}") from None


def bytes_of_tokens(tokenizer: Tokenizer) -> list[int]:
    """How many bytes of text each entry of the vocabulary stands for; special tokens stand for none.

    Exact for tokenizers of bytes. Where a tokenizer is not lossless, these are the bytes that it would write.
    """
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    decoder = json.loads(tokenizer.to_str())["decoder"] or {}
    kinds = {part["type"] for part in decoder.get("decoders", [decoder]) if part}
    counts = []
    for number in range(tokenizer.get_vocab_size()):
        token = tokenizer.id_to_token(number)
        if number in special or token is None:
            counts.append(0)
        elif "ByteLevel" in kinds:
            counts.append(len(token))  # one character for every byte
        elif re.fullmatch("<0x[0-9A-F]{2}>", token):
            counts.append(1)
        else:
            # Between two others, where leading spaces count.
            whole, without = (tokenizer.decode(ids) for ids in ([number, number, number], [number, number]))
            counts.append(len(whole.encode()) - len(without.encode()))
    return counts
