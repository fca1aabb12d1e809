"""The index beside a shard: where every sample of a tar lies, so that any of them is one read away.

`train-000000.tar` gets `train-000000.tar.index`, a memory-mapped file:

    bytes     8  magic and version
    uint64    1  length of the header
    header       JSON: the shard's name, size and sha256; sample count; member extensions; dtype;
                 and where each array below lies
    offsets      int64 [samples, members]: first byte of the member in the tar, -1 where it has none
    sizes        int64 [samples, members]: bytes of the member
    ends         int64 [samples]: cumulative length (tokens, frames) after each sample
    key_ends     int64 [samples], keys: the sample keys as UTF-8, concatenated
    sha256   32  of everything above

Files are grouped into samples as webdataset groups them: `dir/KEY.EXTENSION`, the key ends at the first
dot of the file's name, the extension is lower-cased, `__NAME__` and names without extension are left out.

The length of a sample is what its packer says, else the first dimension of its `.npy` member, 0 where it has
none. The dtype is that of one-dimensional `.npy` members where all have the same, and empty otherwise.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from data.remote import RemoteFile
from data.sample import SampleError
from data.storage import NoSuchFile, beside, is_url, open_file

Int64 = NDArray[np.int64]

_MAGIC = b"PTINDEX\x01"
_ALIGN = 64
_DIGEST_BYTES = 32
_TAR_BLOCK = 512
_TAR_NAME = 100
# numpy refuses to parse longer ones.
_NPY_HEADER = 12 + 10_000
_PIECE_BYTES = 2**24

# webdataset's own rules.
_KEY_AND_EXTENSION = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
_NOT_A_SAMPLE = re.compile(r"__[^/]*__(?:$|/)")


@dataclass(frozen=True)
class ShardIndex:
    """An opened index. The arrays are views of the mapped file (of the fetched one, behind a URL)."""

    shard_path: str
    "Path or URL."
    shard_size: int
    "Bytes."
    shard_sha256: str
    members: tuple[str, ...]
    dtype: str
    offsets: Int64
    sizes: Int64
    ends: Int64
    key_ends: Int64
    keys: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def length(self) -> int:
        """Total length (tokens) of the shard."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def where(self, sample: int) -> str:
        """What messages call a sample: its shard and its key."""
        return f"{self.shard_path}, sample '{self.key(sample)}'"

    def key(self, sample: int) -> str:
        """The webdataset key of a sample."""
        start = int(self.key_ends[sample - 1]) if sample else 0
        return self.keys[start : int(self.key_ends[sample])].tobytes().decode()

    def verify_shard(self) -> None:
        """Read the whole shard and compare its hash.

        Raises:
            DataError: when it differs.
        """
        found = _sha256_of_shard(self.shard_path, self.shard_size)
        if found != self.shard_sha256:
            raise DataError(
                f"{self.shard_path}: sha256 is {found}, its index says {self.shard_sha256}: the shard was changed "
                "or damaged after it was indexed. Restore it, or pack it again."
            )


def content_hashes(indexes: Iterable[ShardIndex]) -> bytes:
    """The hashes of the shards' content, in order: what a fingerprint is made from."""
    return b"".join(bytes.fromhex(index.shard_sha256) for index in indexes)


def index_path(shard_path: Path) -> Path:
    """Where the index of a shard lies."""
    return shard_path.with_name(shard_path.name + ".index")


def write_index(shard: Path | str, lengths: Sequence[int] | None = None) -> Path:
    """Index a webdataset tar on a disk, whoever wrote it. Returns the path of the index.

    Args:
        shard: the tar.
        lengths: the length of every sample, where its writer knows it (frames of audio, rows of a table).

    Raises:
        DataError: when the tar is unreadable or incomplete, or members of one sample are not adjacent.
    """
    if is_url(str(shard)):
        raise DataError(
            f"{shard}: an index is written beside its shard, which must be on a disk. Index the shard there, "
            "or download it, and upload the .index too."
        )
    shard_path = Path(shard)
    try:
        rows = list(_scan(shard_path))
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{shard_path}: cannot be indexed: {error}") from error
    if lengths is not None:
        for row, length in zip(rows, lengths, strict=True):
            row.length = length
    members = sorted({extension for row in rows for extension in row.places})
    table = np.full((len(rows), len(members), 2), -1, dtype=np.int64)
    for row_number, row in enumerate(rows):
        for extension, place in row.places.items():
            table[row_number, members.index(extension)] = place
    keys = [_encoded(row.key, shard_path) for row in rows]
    arrays: dict[str, NDArray[np.int64] | NDArray[np.uint8]] = {
        "offsets": table[:, :, 0].copy(),
        "sizes": table[:, :, 1].copy(),
        "ends": np.cumsum([row.length for row in rows], dtype=np.int64),
        "key_ends": np.cumsum([len(key) for key in keys], dtype=np.int64),
        "keys": np.frombuffer(b"".join(keys), dtype=np.uint8),
    }
    header: dict[str, object] = {
        "shard": {"name": shard_path.name, "size": shard_path.stat().st_size, "sha256": _sha256_of(shard_path)},
        "members": members,
        "dtype": _common_dtype(rows),
    }
    target = index_path(shard_path)
    temporary = target.with_name(target.name + ".partial")
    try:
        temporary.write_bytes(_encode(header, arrays))
        os.replace(temporary, target)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def _encoded(key: str, shard_path: Path) -> bytes:
    try:
        return key.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{shard_path}: the name {key!r} is not UTF-8. Write the shard again with other names."
        ) from None


def open_index(shard: Path | str) -> ShardIndex:
    """Open the index of a shard and check it against itself and against the shard's size.

    Args:
        shard: a path, or a URL beside which the index lies.

    Raises:
        DataError: when shard or index is missing, damaged, or they do not belong together.
    """
    name = str(shard)
    size = _size_of_shard(name)
    header, arrays = _decode(_content(name), beside(name, ".index"))
    facts = header["shard"]
    if size != facts["size"]:
        raise DataError(
            f"{name}: {size} bytes, its index says {facts['size']}: truncated or replaced. "
            "Restore the shard, or pack it again."
        )
    index = ShardIndex(
        shard_path=name,
        shard_size=size,
        shard_sha256=facts["sha256"],
        members=tuple(header["members"]),
        dtype=header["dtype"],
        **arrays,
    )
    if not is_url(name):
        _require_same_files(index)
    return index


def _require_same_files(index: ShardIndex) -> None:
    """Look whether the first and the last sample lie where the index says: a shard of the same size may be another.

    Raises:
        DataError: when other files lie there.
    """
    if not len(index):
        return
    with open(index.shard_path, "rb") as shard:
        for sample in (0, len(index) - 1):
            column = int(np.argmax(index.offsets[sample]))
            expected = f"{index.key(sample)}.{index.members[column]}"
            shard.seek(int(index.offsets[sample, column]) - _TAR_BLOCK)
            found = _name_in(shard.read(_TAR_BLOCK))
            # Names that are longer, or not ASCII, stand in a record of their own.
            if expected.isascii() and len(expected) < _TAR_NAME and found.lower() != expected.lower():
                raise DataError(
                    f"{index.shard_path}: the file '{expected}' is not where the index says, but '{found}': the index "
                    f"belongs to another shard. Make it again with: polytrain index {index.shard_path}"
                )


def _name_in(header: bytes) -> str:
    """The name in a tar header (POSIX ustar: name, and a prefix that goes before it)."""
    name, prefix = header[:_TAR_NAME].split(b"\0")[0], header[345:500].split(b"\0")[0]
    parts = [prefix, name] if prefix and header[257:262] == b"ustar" else [name]
    return b"/".join(parts).decode(errors="replace")


@dataclass
class _Row:
    key: str
    places: dict[str, tuple[int, int]]
    length: int = 0
    dtype: str = ""


def _scan(shard_path: Path) -> Iterator[_Row]:
    """One row per sample: consecutive files that share their key."""
    seen: set[str] = set()
    row: _Row | None = None
    with tarfile.open(shard_path, "r:") as tar:
        for entry in tar:
            matched = _KEY_AND_EXTENSION.fullmatch(entry.name)
            if not matched or not entry.isfile() or _NOT_A_SAMPLE.match(entry.name):
                continue
            if entry.issparse():
                raise DataError(f"{shard_path}: '{entry.name}' is stored as a sparse file; write the tar without -S.")
            key, extension = matched[1], matched[2].lower()
            if row is None or key != row.key:
                if row is not None:
                    yield row
                if key in seen:
                    raise DataError(
                        f"{shard_path}: the files of sample '{key}' are not adjacent; write it again in order."
                    )
                seen.add(key)
                row = _Row(key, {})
            if extension in row.places:
                raise DataError(f"{shard_path}: sample '{key}' has two files with the extension '{extension}'.")
            row.places[extension] = (entry.offset_data, entry.size)
            if extension == "npy":
                member = tar.extractfile(entry)
                assert member is not None
                row.length, row.dtype = _npy_length(shard_path, entry.name, member.read(_NPY_HEADER))
        _require_end_of_archive(shard_path, tar.offset)
    if row is not None:
        yield row


def _require_end_of_archive(shard_path: Path, offset: int) -> None:
    """`tarfile` stops without a word at a header that is damaged or cut short."""
    with shard_path.open("rb") as stream:
        stream.seek(offset)
        if stream.read(_TAR_BLOCK) != bytes(_TAR_BLOCK):
            raise DataError(
                f"{shard_path}: no end-of-archive mark after the last readable file, at byte {offset}: "
                "truncated or damaged. Restore it, or write it again."
            )


def _npy_length(shard_path: Path, name: str, head: bytes) -> tuple[int, str]:
    try:
        stream = io.BytesIO(head)
        major, _ = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
    except Exception as error:  # numpy parses the text with Python's tokenizer, which raises what it likes
        raise DataError(f"{shard_path}: member {name} is not a numpy array: {error}") from error
    return (shape[0] if shape else 1), (dtype.str if len(shape) == 1 else "")


def _common_dtype(rows: list[_Row]) -> str:
    dtypes = {row.dtype for row in rows if "npy" in row.places}
    return dtypes.pop() if len(dtypes) == 1 else ""


def _encode(header: dict[str, object], arrays: dict[str, NDArray[np.int64] | NDArray[np.uint8]]) -> bytes:
    layout: dict[str, dict[str, object]] = {}
    body = bytearray()
    for name, array in arrays.items():
        body += b"\0" * (-len(body) % _ALIGN)
        layout[name] = {"dtype": array.dtype.str, "shape": array.shape, "start": len(body)}
        body += array.tobytes()
    text = json.dumps({**header, "arrays": layout}).encode()
    text += b" " * (-(len(_MAGIC) + 8 + len(text)) % _ALIGN)
    content = _MAGIC + len(text).to_bytes(8, "little") + text + bytes(body)
    return content + hashlib.sha256(content).digest()


def _size_of_shard(name: str) -> int:
    try:
        if not is_url(name) and not Path(name).is_file():
            raise NoSuchFile(name)
        return open_file(name).size()
    except NoSuchFile:
        raise DataError(f"{name}: no such shard.") from None
    except SampleError as error:
        raise DataError(str(error)) from error


def _content(name: str) -> NDArray[np.uint8]:
    """The index of the shard `name`: mapped from a disk, fetched whole from elsewhere."""
    path = beside(name, ".index")
    try:
        if is_url(name):
            return np.frombuffer(RemoteFile(path).read_all(), dtype=np.uint8)
        if not Path(path).is_file():
            raise NoSuchFile(path)
        # An empty file cannot be mapped.
        return np.memmap(path, dtype=np.uint8, mode="r") if Path(path).stat().st_size else np.empty(0, np.uint8)
    except NoSuchFile:
        where = ", where it lies on a disk, and put it beside the shard" if is_url(name) else ""
        raise DataError(f"{path}: no such index. Make it with: polytrain index {name}{where}") from None
    except SampleError as error:
        raise DataError(str(error)) from error


def _decode(content: NDArray[np.uint8], path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    prefix = len(_MAGIC) + 8
    damaged = f"{path}: damaged or not an index of this version. Delete it and make it again with: polytrain index"
    if len(content) < prefix + _DIGEST_BYTES:
        raise DataError(damaged)
    if content[: len(_MAGIC)].tobytes() != _MAGIC:
        raise DataError(damaged)
    if hashlib.sha256(content[:-_DIGEST_BYTES].data).digest() != content[-_DIGEST_BYTES:].tobytes():
        raise DataError(damaged)
    body = prefix + int.from_bytes(content[len(_MAGIC) : prefix].tobytes(), "little")
    header = json.loads(content[prefix:body].tobytes())
    arrays = {}
    for name, place in header.pop("arrays").items():
        dtype = np.dtype(place["dtype"])
        start = body + place["start"]
        stop = start + int(np.prod(place["shape"], dtype=np.int64)) * dtype.itemsize
        # As plain arrays: every access to a numpy.memmap costs a microsecond more.
        arrays[name] = content[start:stop].view(np.ndarray).view(dtype).reshape(place["shape"])
    return header, arrays


def _sha256_of_shard(name: str, size: int) -> str:
    file, digest = open_file(name), hashlib.sha256()
    for offset in range(0, size, _PIECE_BYTES):
        digest.update(file.read(offset, min(_PIECE_BYTES, size - offset)))
    file.close()
    return digest.hexdigest()


def _sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
