"""Documents -> token ids: one sample per document, `npy` (ids, ended by END_OF_TEXT) and `json` (its name).

    polytrain pack text stdlib shards/quickstart --vocab-size 4096

The tokenizer is trained on the documents of the train split, or given.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from configs.errors import DataError
from data.packing.documents import documents
from data.packing.driver import progress, split_of
from data.packing.record import Item, Packer, Record
from data.packing.text_options import TextPackOptions
from data.text.tokenizer import END_OF_TEXT, load_tokenizer, train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"


class TextPacker(Packer[str]):
    """Packs the documents of a corpus as token ids."""

    def __init__(self, options: TextPackOptions, location: str) -> None:
        self._options = options
        self._location = location
        self._serialized = ""
        self._tokenizer: Tokenizer | None = None

    def prepare(self, folder: Path) -> None:
        path = folder / TOKENIZER
        if not path.exists():
            tokenizer = load_tokenizer(self._options.tokenizer) if self._options.tokenizer else self._train()
            temporary = folder / f"{TOKENIZER}.tmp"
            tokenizer.save(str(temporary))
            temporary.rename(path)
        self._serialized = path.read_text()

    def items(self) -> Iterator[Item[str]]:
        for document in documents(self._location):
            yield Item(document.name, document.group, document.text)

    def encode(self, item: Item[str]) -> Record:
        tokenizer = self._loaded()
        ids = tokenizer.encode(item.content, add_special_tokens=False).ids
        dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
        tokens = np.array([*ids, tokenizer.token_to_id(END_OF_TEXT)], dtype=dtype)
        return Record({"npy": tokens, "json": {"name": item.name}}, length=len(tokens))

    def facts(self) -> dict[str, JsonValue]:
        return {"tokenizer": {"file": TOKENIZER, "vocab_size": self._loaded().get_vocab_size()}}

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_tokenizer": None}

    def _loaded(self) -> Tokenizer:
        if self._tokenizer is None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_str(self._serialized)
        return self._tokenizer

    def _train(self) -> Tokenizer:
        train = (
            item.content
            for item in progress(self.items(), "training tokenizer")
            if split_of(item, self._options.validation) == "train"
        )
        first = next(train, None)
        if first is None:
            raise DataError(f"{self._options.corpus}: no text found: the corpus is empty.")
        return train_tokenizer(itertools.chain([first], train), self._options.vocab_size)
