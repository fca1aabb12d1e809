"""Packs a corpus: splits, worker processes, shards, index, restart.

    OUTPUT/train-000000.tar          one webdataset sample per example: KEY.EXTENSION
    OUTPUT/train-000000.tar.index
    OUTPUT/validation-000000.tar ...
    OUTPUT/corpus.json               what was packed: written last
    OUTPUT/...                       what the packer adds: a tokenizer, the schema of a table

The same corpus and options give the same bytes, whatever the number of workers and interruptions. All is
written into OUTPUT.partial, which is renamed at the end. A shard is called .tar only once it is whole and on
disk. Running an interrupted command again keeps the whole shards and goes on behind them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue
from tqdm import tqdm

from configs.errors import DataError
from configs.files import replace_file
from configs.options import construct
from data.index import write_index
from data.packing.encoding import Encoded, Failed, encode_in_order
from data.packing.options import PackOptions
from data.packing.packages import located
from data.packing.record import Item, Packer
from data.packing.split import is_held_out

SPLITS = ("train", "validation")
_FIRST_NAMES = 3


def pack(options: PackOptions, output: Path, *, workers: int = 1) -> dict[str, Any]:
    """Pack the corpus that `options` describe into `output`; nothing is done when it was packed there before.

    Args:
        options: what to pack, and how.
        output: the folder to make.
        workers: processes that read and encode; they change nothing in the result.

    Returns:
        The content of corpus.json.

    Raises:
        DataError: when the corpus is empty or damaged, `output` holds something else, or the disk is full.
    """
    done = _already_packed(options, output)
    if done is not None:
        return done
    partial = output.with_name(output.name + ".partial")
    with ExitStack() as stack:
        stack.enter_context(_disk_errors(partial))
        stack.enter_context(_only_packer(partial, options))
        packer = _packer(options)
        packer.prepare(partial)
        shards = {split: _SplitWriter(partial, split, options.shard_mb * 1e6) for split in SPLITS}
        for writer in shards.values():
            stack.callback(writer.abandon)
        _write_all(packer, options, shards, workers)
        bad = [entry for writer in shards.values() for entry in writer.bad]
        splits = {split: writer.finish() for split, writer in shards.items()}
        _require_splits(options, splits, partial)
        for name, content in packer.files().items():
            replace_file(partial / name, content)
        corpus: dict[str, Any] = {
            "options": options.tree(),
            **packer.facts(),
            "splits": splits,
            **({"bad": bad} if bad else {}),
        }
        replace_file(partial / "corpus.json", json.dumps(corpus, indent=2) + "\n")
        for name in _WHILE_PACKING:
            (partial / name).unlink(missing_ok=True)
        os.rename(partial, output)
    return corpus


def survey(options: PackOptions) -> dict[str, JsonValue]:
    """What packing would find, without reading the examples or writing anything (`--dry-run`)."""
    count, first = Counter[str](), dict[str, list[JsonValue]]()
    for item in progress(_packer(options).items(), "listing"):
        split = split_of(item, options.validation)
        count[split] += 1
        if count[split] <= _FIRST_NAMES:
            first.setdefault(split, []).append(item.name)
    return {split: {"examples": count[split], "first": first.get(split, [])} for split in SPLITS}


def _packer(options: PackOptions) -> Packer[Any]:
    return cast(Packer[Any], construct(options, located(options.corpus)))


def _already_packed(options: PackOptions, output: Path) -> dict[str, Any] | None:
    if not output.exists():
        return None
    try:
        corpus: dict[str, Any] = json.loads((output / "corpus.json").read_text())
        packed_with = corpus["options"]
    except (OSError, ValueError, KeyError, TypeError):  # missing, not JSON, or somebody else's corpus.json
        raise DataError(f"{output}: exists and is not a packed corpus. Choose another folder, or remove it.") from None
    if _what_decides(packed_with) != _what_decides(options.tree()):
        raise DataError(f"{output}: holds a corpus packed with {packed_with}. Choose another folder, or remove it.")
    return corpus


def _what_decides(tree: dict[str, Any]) -> dict[str, Any]:
    """The options that decide what is packed. How many damaged examples are tolerated may change on the way."""
    return {key: value for key, value in tree.items() if key != "skip_bad"}


_WHILE_PACKING = (".lock", "options.json", *(f"{split}.progress.json" for split in SPLITS))


@contextmanager
def _only_packer(partial: Path, options: PackOptions) -> Iterator[None]:
    """Hold the folder; empty it where it was begun with other options."""
    partial.mkdir(parents=True, exist_ok=True)
    with (partial / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{partial}: another process is packing there. Wait for it, or stop it.") from None
        wanted = json.dumps(_what_decides(options.tree()), indent=2).encode()
        begun = partial / "options.json"
        if not begun.exists() and {path.name for path in partial.iterdir()} - {".lock", "options.json.partial"}:
            raise DataError(f"{partial}: exists and was not begun by packing. Remove it, or choose another OUTPUT.")
        if not begun.exists() or begun.read_bytes() != wanted:
            for path in partial.iterdir():
                if path.name != ".lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            replace_file(begun, wanted)
        try:
            yield
        finally:
            # Nothing to go on from: leave no trace.
            if partial.exists() and not any(partial.glob("*.tar")):
                shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _disk_errors(partial: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or partial}: {error.strerror or error}. Whole shards are kept in {partial}; "
            "the same command goes on behind them."
        ) from error


def _write_all(packer: Packer[Any], options: PackOptions, shards: dict[str, _SplitWriter], workers: int) -> None:
    """Encode and write every item that is not in a whole shard yet."""

    def remaining() -> Iterator[tuple[str, Item[Any]]]:
        for item in progress(packer.items(), "packing"):
            split = split_of(item, options.validation)
            if not shards[split].is_written(item):
                yield split, item

    for split, item, result in encode_in_order(packer, remaining(), workers):
        if isinstance(result, Encoded):
            shards[split].write(item, result)
            continue
        num_bad = 1 + sum(len(writer.bad) for writer in shards.values())
        if num_bad > options.skip_bad:
            allowed = f"{options.skip_bad} may be left out" if options.skip_bad else "none may be left out"
            raise DataError(
                f"{result.error}\n{num_bad} damaged example(s), {allowed} (--skip-bad). "
                "Repair or remove them, or allow more; the same command goes on behind the shards already written."
            )
        shards[split].leave_out(item, result)


def split_of(item: Item[Any], validation: float) -> str:
    """As the data set says, else by a hash of the item's group.

    Raises:
        DataError: when the name is not Unicode.
    """
    if not _is_unicode(item.name + item.group):
        raise DataError(f"{item.name!r}: the name is not UTF-8; rename it.")
    return item.split or ("validation" if is_held_out(item.group, validation) else "train")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_splits(options: PackOptions, splits: dict[str, Any], partial: Path) -> None:
    for split, content in splits.items():
        if not content["samples"] and (split == "train" or options.validation):
            shutil.rmtree(partial)  # whatever is done about it, these shards are of no use
            blocks = (
                " An example of a table is a block of rows: --rows-per-sample."
                if "rows_per_sample" in options.tree()
                else ""
            )
            raise DataError(
                f"{options.corpus}: no example fell into the {split} split (--validation {options.validation}): "
                f"the corpus is empty or too small. Add examples, or change --validation.{blocks}"
            )


def progress(items: Iterator[Item[Any]], what: str) -> Iterator[Item[Any]]:
    """The items, with a progress bar on a terminal."""
    return iter(tqdm(items, desc=what, unit=" examples", disable=None))


@dataclass
class _Progress:
    """What the whole shards of a split hold; written after each of them."""

    shards: list[str] = field(default_factory=list)
    items: int = 0
    "Items consumed, damaged ones included."
    samples: int = 0
    length: int = 0
    names: str = ""
    "A hash of the names of the items consumed."
    bad: list[dict[str, str]] = field(default_factory=list)


class _SplitWriter:
    """Writes the shards of one split."""

    def __init__(self, folder: Path, split: str, shard_bytes: float) -> None:
        self._folder = folder
        self._split = split
        self._shard_bytes = shard_bytes
        self._record = folder / f"{split}.progress.json"
        self._done = _Progress()
        with suppress(FileNotFoundError):
            self._done = _Progress(**json.loads(self._record.read_text()))
        for leftover in folder.glob(f"{split}-*.partial"):
            leftover.unlink()
        self._to_skip = self._done.items
        self._names = hashlib.sha256()
        self._now = _Progress(**asdict(self._done))
        self._shard: _Shard | None = None

    @property
    def bad(self) -> list[dict[str, str]]:
        """Damaged items met so far."""
        return self._now.bad

    def is_written(self, item: Item[Any]) -> bool:
        """Whether a whole shard already holds `item`; to be asked once for each item, in order."""
        if not self._to_skip:
            return False
        self._to_skip -= 1
        self._names.update(item.name.encode() + b"\0")
        if not self._to_skip and self._names.hexdigest() != self._done.names:
            raise self._has_changed(f"other names before '{item.name}'")
        return True

    def write(self, item: Item[Any], encoded: Encoded) -> None:
        """Append one sample; the shard is closed once it is large enough."""
        self._consume(item)
        if self._shard is None:
            name = f"{self._split}-{len(self._now.shards):06d}.tar"
            self._shard = _Shard(self._folder / name)
        self._shard.write(f"{self._now.samples:09d}", encoded)
        self._now.samples += 1
        self._now.length += encoded.length
        if self._shard.size >= self._shard_bytes:
            self._close()

    def leave_out(self, item: Item[Any], failed: Failed) -> None:
        """Remember a damaged item."""
        self._consume(item)
        self._now.bad.append({"name": item.name, "error": failed.error})

    def finish(self) -> dict[str, Any]:
        """Close the last shard; what corpus.json says of the split."""
        if self._to_skip:
            raise self._has_changed(f"{self._to_skip} fewer examples for {self._split}")
        if self._shard is not None:
            self._close()
        return {"samples": self._now.samples, "length": self._now.length, "shards": self._now.shards}

    def abandon(self) -> None:
        """Leave what is not finished."""
        if self._shard is not None:
            self._shard.abandon()
            self._shard = None

    def _has_changed(self, how: str) -> DataError:
        return DataError(
            f"{self._folder}: the corpus has changed since packing was interrupted ({how}). "
            "Remove that folder to start again."
        )

    def _consume(self, item: Item[Any]) -> None:
        self._now.items += 1
        self._names.update(item.name.encode() + b"\0")

    def _close(self) -> None:
        assert self._shard is not None
        self._now.shards.append(self._shard.close().name)
        self._shard = None
        self._now.names = self._names.hexdigest()
        replace_file(self._record, json.dumps(asdict(self._now)))


class _Shard:
    """A tar while it is written: PATH.partial until it is whole."""

    def __init__(self, path: Path) -> None:
        from webdataset.writer import TarWriter

        self._path = path
        self._temporary = path.with_name(path.name + ".partial")
        self._file = self._temporary.open("wb")
        self._writer: Any = TarWriter(self._file, encoder=False, mtime=0)
        self._lengths: list[int] = []

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._file.tell()

    def write(self, key: str, encoded: Encoded) -> None:
        """Append one sample."""
        self._writer.write({"__key__": key, **encoded.members})
        self._lengths.append(encoded.length)

    def abandon(self) -> None:
        """Leave the partial file behind."""
        with suppress(OSError, ValueError):
            self._writer.close()

    def close(self) -> Path:
        """End the tar, bring it to disk, name it and index it."""
        self._writer.close()
        with self._temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.rename(self._temporary, self._path)
        write_index(self._path, self._lengths)
        return self._path
