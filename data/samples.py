"""The samples of webdataset shards, one by one, decoded by the extensions of their members.

    kind: samples
    shards: shards/photos/train-{000000..000031}.tar
    fields: {image: jpg;png, label: cls, caption: json:caption}

Any indexed tar will do, whoever wrote it. Without `fields` every member becomes a field (JSON left out), named
as `data.decoding` says.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from configs.errors import DataError
from data.decoding import Content, Decoder, decoder_of
from data.index import ShardIndex, content_hashes
from data.sample import Sample, SampleError, fingerprint_of
from data.shards import Shard, open_shards
from data.sources import SamplesOptions
from data.storage import Storage

# Bytes per member that may be read in vain: a header and the padding before it are at most two blocks of 512.
_WASTE = 2048


@dataclass(frozen=True)
class _Member:
    """How one member of the samples of a shard becomes fields."""

    extension: str
    column: int
    decode: Decoder


_Place = tuple[_Member, int, int]


class Samples:
    """A `Source` of the decoded members of indexed shards."""

    def __init__(
        self, options: SamplesOptions, storage: Storage | None = None, *, unknown_as_bytes: bool = False
    ) -> None:
        """`unknown_as_bytes`: members that nothing here decodes are bytes, not an error."""
        self._unknown_as_bytes = unknown_as_bytes
        self._options = options
        self._shards = open_shards(options.shards, storage)
        self._members = [self._members_of(shard) for shard in self._shards]
        # A list: bisecting one is several times faster than numpy for a single index.
        self._ends = np.cumsum([len(shard.index) for shard in self._shards], dtype=np.int64).tolist()
        if not len(self):
            raise DataError(f"{options.shards}: {len(self._shards)} shard(s) without a single sample.")

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Sample:
        shard, row, fields = self._locate(index)
        places = self._places(shard, row, fields)
        sample: Sample = {}
        for (member, _, _), content in zip(places, _contents(shard, places), strict=True):
            try:
                sample.update(member.decode(content))
            except ValueError as error:
                raise self._error(shard, row, f"{member.extension}: {error}") from None
        return sample

    def _places(self, shard: Shard, row: int, fields: list[tuple[_Member, ...]]) -> list[_Place]:
        """Which members of a sample are read, and where each begins and ends."""
        offsets, sizes = shard.index.offsets, shard.index.sizes
        places: list[_Place] = []
        for choices in fields:
            for member in choices:
                offset = offsets.item(row, member.column)
                if offset >= 0:
                    places.append((member, offset, offset + sizes.item(row, member.column)))
                    break
            else:
                if self._options.fields is not None:
                    names = " or ".join(item.extension for item in choices)
                    raise self._error(shard, row, f"has no member {names}")
        return places

    @property
    def fingerprint(self) -> int:
        """A hash of the shards' content and of the fields chosen."""
        fields = repr(sorted((self._options.fields or {}).items())).encode()
        return fingerprint_of(fields + content_hashes(self.indexes))

    @property
    def indexes(self) -> list[ShardIndex]:
        """The indexes of the shards."""
        return [shard.index for shard in self._shards]

    def name(self, index: int) -> str:
        """Where the sample at `index` comes from: SHARD, sample KEY."""
        shard, row, _ = self._locate(index)
        return shard.index.where(row)

    def _locate(self, index: int) -> tuple[Shard, int, list[tuple[_Member, ...]]]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        return self._shards[number], index - (self._ends[number - 1] if number else 0), self._members[number]

    def _members_of(self, shard: Shard) -> list[tuple[_Member, ...]]:
        """The members to decode, and for each field the alternatives that this shard has."""
        there = shard.index.members
        if self._options.fields is None:
            chosen = [name for name in there if not name.endswith("json")]
            if not chosen:
                raise DataError(
                    f"{shard.index.shard_path}: its samples have JSON members only. Name the values to read by the key "
                    "'fields', such as {label: json:label}."
                )
            return [(_Member(name, there.index(name), self._usual_decoder(name)),) for name in chosen]
        members = []
        for field, described in self._options.fields.items():
            extensions, _, how = described.partition(":")
            choices = tuple(
                _Member(extension, there.index(extension), decoder_of(field, extension, how))
                for extension in map(str.strip, extensions.split(";"))
                if extension in there
            )
            if not choices:
                raise DataError(
                    f"{shard.index.shard_path}: no sample has a member {extensions.replace(';', ' or ')} for the field "
                    f"'{field}'; its members are {', '.join(there) or 'none'}. Correct the key 'fields'."
                )
            members.append(choices)
        return members

    def _usual_decoder(self, extension: str) -> Decoder:
        try:
            return decoder_of(None, extension)
        except DataError:
            if not self._unknown_as_bytes:
                raise
            return decoder_of(None, extension, "raw")

    def _error(self, shard: Shard, row: int, reason: str) -> SampleError:
        return SampleError(f"{shard.index.where(row)}: {reason}")


def _contents(shard: Shard, places: list[_Place]) -> Sequence[Content]:
    """The bytes of each place: by one read where they lie close together, as members of a sample mostly do."""
    if len(places) < 2:
        return [shard.read(start, stop - start) for _, start, stop in places]
    first, last = min(start for _, start, _ in places), max(stop for _, _, stop in places)
    wanted = sum(stop - start for _, start, stop in places)
    if last - first > wanted + _WASTE * len(places):
        return shard.read_many([(start, stop - start) for _, start, stop in places])
    content = memoryview(shard.read(first, last - first))
    return [content[start - first : stop - first] for _, start, stop in places]
