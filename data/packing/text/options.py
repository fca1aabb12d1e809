"""Options of `polytrain pack text`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from data.packing.options import PackOptions
from data.packing.text.readers.options import DocumentOptions
from data.text.tokenizer import END_OF_TEXT, TokenizerKind


class TextPackOptions(PackOptions, DocumentOptions):
    """Texts, as token ids: the standard library, folders, files (rows, dictionaries, sequences), data sets."""

    kind: Literal["text"] = "text"
    tokenizer: str | None = None
    "A tokenizer.json to use instead of training one."
    end_of_text: str = END_OF_TEXT
    "The token that ends documents, for a tokenizer made by others ('</s>', '[SEP]')."
    tokenizer_kind: TokenizerKind = "byte_bpe"
    "The tokenizer to train; `bytes` needs no training."
    vocab_size: int = Field(default=4096, gt=0)
    "Entries of the tokenizer to train."
    special_tokens: list[str] = Field(default_factory=list)
    "Further tokens of the tokenizer to train, such as '<mask>'."

    builds: ClassVar[str] = "data.packing.text.packer:TextPacker"
