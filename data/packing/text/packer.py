"""Documents -> token ids: one sample per document.

    npy    [T] uint16 or uint32 token ids, ended by the end-of-text token
    cls    the number of its label in `class_names` of corpus.json, where the options say what the label is
    json   {"name": what the document is called}

The tokenizer is trained on the documents of the train split, or given; it lies beside the shards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import JsonValue

from configs.errors import DataError
from configs.files import replace_file
from data.packing.driver import progress, split_of
from data.packing.record import Item, Member, Packer, Record
from data.packing.text.documents import documents
from data.packing.text.options import TextPackOptions
from data.text.tokenizer import load_tokenizer, train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
_CLASSES = "classes.json"

TextAndLabel = tuple[str, str | int | None]


class TextPacker(Packer[TextAndLabel]):
    """Packs the documents of a corpus as token ids."""

    def __init__(self, options: TextPackOptions, location: str) -> None:
        self._options = options
        self._location = location
        self._class_names: list[str | int] = []
        self._serialized = ""
        self._tokenizer: Tokenizer | None = None

    def prepare(self, folder: Path) -> None:
        if self._options.label_key is not None or self._options.label_pattern is not None:
            self._class_names = _made_once(folder / _CLASSES, lambda: json.dumps(self._labels()), json.loads)
        self._serialized = _made_once(folder / TOKENIZER, lambda: self._trained_or_given().to_str(pretty=True), str)

    def items(self) -> Iterator[Item[TextAndLabel]]:
        for document in documents(self._location, self._options):
            yield Item(document.name, document.group, (document.text, document.label))

    def encode(self, item: Item[TextAndLabel]) -> Record:
        tokenizer = self._loaded()
        text, label = item.content
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
        tokens = np.array([*ids, tokenizer.token_to_id(self._options.end_of_text)], dtype=dtype)
        members: dict[str, Member] = {"npy": tokens, "json": {"name": item.name}}
        if label is not None:
            members["cls"] = self._class_names.index(label)
        return Record(members, length=len(tokens))

    def facts(self) -> dict[str, JsonValue]:
        tokenizer: JsonValue = {"file": TOKENIZER, "vocab_size": self._loaded().get_vocab_size()}
        return {"tokenizer": tokenizer} | ({"class_names": list(self._class_names)} if self._class_names else {})

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_tokenizer": None}

    def _loaded(self) -> Tokenizer:
        if self._tokenizer is None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_str(self._serialized)
        return self._tokenizer

    def _labels(self) -> list[str | int]:
        """Every label, in order."""
        found = {item.content[1] for item in progress(self.items(), "collecting labels")}
        return sorted(
            (label for label in found if label is not None), key=lambda label: (isinstance(label, str), label)
        )

    def _trained_or_given(self) -> Tokenizer:
        options = self._options
        if options.tokenizer is not None:
            return load_tokenizer(options.tokenizer, end_of_text=options.end_of_text)
        texts = _TrainTexts(self)
        if next(iter(texts), None) is None:
            raise DataError(f"{options.corpus}: no text found: the corpus is empty.")
        return train_tokenizer(
            texts, options.vocab_size, kind=options.tokenizer_kind, special_tokens=options.special_tokens
        )


@dataclass(frozen=True)
class _TrainTexts(Iterable[str]):
    """The texts of the train split, as often as they are asked for."""

    packer: TextPacker

    def __iter__(self) -> Iterator[str]:
        for item in progress(self.packer.items(), "training tokenizer"):
            if split_of(item, self.packer._options.validation) == "train":
                yield item.content[0]


def _made_once(path: Path, make: Any, read: Any) -> Any:
    """What `path` holds; it is made where it is not there yet."""
    if not path.exists():
        replace_file(path, make())
    return read(path.read_text())
