"""Documents -> tokenised webdataset shards, their indexes, and a tokenizer.

    polytrain pack stdlib shards/quickstart --vocab-size 4096

writes

    shards/quickstart/tokenizer.json
    shards/quickstart/train-000000.tar       one sample per document: KEY.npy (token ids), KEY.json (its name)
    shards/quickstart/train-000000.tar.index
    shards/quickstart/validation-000000.tar, ...
    shards/quickstart/corpus.json            what was packed: written last, so its presence means complete

The same corpus and options give the same bytes. Everything is written into a temporary folder and
renamed at the end: an interrupted run leaves nothing that could be mistaken for a corpus.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from configs.errors import DataError
from data.index import write_index
from data.packing.documents import Document, documents
from data.text.tokenizer import END_OF_TEXT, load_tokenizer, train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BATCH = 256


@dataclass(frozen=True)
class PackOptions:
    """What `polytrain pack` was asked for."""

    corpus: str
    "See data.packing.documents."
    vocab_size: int = 4096
    "Entries of the tokenizer to train."
    tokenizer: str | None = None
    "A tokenizer.json to use instead of training one."
    validation: float = 0.05
    "Share of the documents held out."
    shard_mb: float = 256.0
    "Size at which a shard is closed, in 10^6 bytes."


def pack(options: PackOptions, output: Path) -> dict[str, Any]:
    """Pack a corpus into `output`; nothing is done when the same was packed there before.

    Returns:
        The content of corpus.json.

    Raises:
        DataError: when the corpus is empty, or `output` holds something else.
    """
    done = _already_packed(options, output)
    if done is not None:
        return done
    partial = output.with_name(output.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise DataError(f"{partial}: cannot be written: {error}") from None
    tokenizer = _tokenizer(options)
    tokenizer.save(str(partial / "tokenizer.json"))
    writers = {split: _SplitWriter(partial, split, options.shard_mb) for split in ("train", "validation")}
    for document, tokens in _tokenised(options, tokenizer):
        writers[_split_of(document, options.validation)].write(document, tokens)
    corpus = {
        "options": asdict(options),
        "tokenizer": {"file": "tokenizer.json", "vocab_size": tokenizer.get_vocab_size()},
        "splits": {split: writer.finish() for split, writer in writers.items()},
    }
    _require_both_splits(options, corpus["splits"])
    (partial / "corpus.json").write_text(json.dumps(corpus, indent=2) + "\n")
    os.rename(partial, output)
    return corpus


def _already_packed(options: PackOptions, output: Path) -> dict[str, Any] | None:
    if not output.exists():
        return None
    try:
        corpus: dict[str, Any] = json.loads((output / "corpus.json").read_text())
        packed_with = corpus["options"]
    except (OSError, ValueError, KeyError, TypeError):  # missing, not JSON, or somebody else's corpus.json
        raise DataError(f"{output}: exists and is not a packed corpus. Choose another folder, or remove it.") from None
    if packed_with != asdict(options):
        raise DataError(f"{output}: holds a corpus packed with {packed_with}. Choose another folder, or remove it.")
    return corpus


def _tokenizer(options: PackOptions) -> Tokenizer:
    if options.tokenizer is not None:
        return load_tokenizer(options.tokenizer)
    train = (
        item for item in _progress(options, "training tokenizer") if _split_of(item, options.validation) == "train"
    )
    first = next(train, None)
    if first is None:
        raise DataError(f"{options.corpus}: no text found: the corpus is empty.")
    return train_tokenizer((item.text for item in itertools.chain([first], train)), options.vocab_size)


def _tokenised(options: PackOptions, tokenizer: Tokenizer) -> Iterator[tuple[Document, np.ndarray]]:
    end = tokenizer.token_to_id(END_OF_TEXT)
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    for batch in _batched(_progress(options, "packing"), _BATCH):
        encoded = tokenizer.encode_batch_fast([item.text for item in batch], add_special_tokens=False)
        for document, encoding in zip(batch, encoded, strict=True):
            yield document, np.array([*encoding.ids, end], dtype=dtype)


def _batched(items: Iterator[Document], size: int) -> Iterator[list[Document]]:
    while batch := list(itertools.islice(items, size)):
        yield batch


def _progress(options: PackOptions, what: str) -> Iterator[Document]:
    yield from tqdm(documents(options.corpus), desc=what, unit=" documents", disable=None)


def _split_of(document: Document, validation: float) -> str:
    """By a hash of the document's group: the split does not depend on what else is in the corpus."""
    digest = hashlib.blake2b(document.group.encode(), digest_size=8).digest()
    return "validation" if int.from_bytes(digest, "little") < validation * 2**64 else "train"


def _require_both_splits(options: PackOptions, splits: dict[str, Any]) -> None:
    for split, content in splits.items():
        if not content["documents"] and (split == "train" or options.validation):
            raise DataError(
                f"{options.corpus}: no document fell into the {split} split (--validation {options.validation}): "
                "the corpus is empty or too small. Add documents, or change --validation."
            )


class _SplitWriter:
    """Writes the shards of one split and indexes each as soon as it is closed."""

    def __init__(self, folder: Path, split: str, shard_mb: float) -> None:
        from webdataset.writer import ShardWriter

        self._folder = folder
        self._split = split
        self._writer: Any = None
        open_shards: Any = ShardWriter  # untyped
        self._open: Callable[[], Any] = lambda: open_shards(
            str(folder / f"{split}-%06d.tar"), maxsize=shard_mb * 1e6, maxcount=10**9, verbose=0, mtime=0
        )
        self._documents = 0
        self._tokens = 0

    def write(self, document: Document, tokens: np.ndarray) -> None:
        if self._writer is None:
            self._writer = self._open()
        self._writer.write({"__key__": f"{self._documents:09d}", "npy": tokens, "json": {"name": document.name}})
        self._documents += 1
        self._tokens += len(tokens)

    def finish(self) -> dict[str, Any]:
        if self._writer is not None:
            self._writer.close()
        shards = sorted(self._folder.glob(f"{self._split}-*.tar"))
        for shard in shards:
            write_index(shard)
        return {"documents": self._documents, "tokens": self._tokens, "shards": [shard.name for shard in shards]}
