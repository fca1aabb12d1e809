"""Files that belong together -> one sample per key, the files as its members.

    motorcycle_left.png  motorcycle_right.png  motorcycle_disp.npz

become the sample `motorcycle` with the members left.png, right.png and disp.npz. Files that the pattern does not
match are left out. Members that a source could decode are decoded once, to see that they can be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from configs.errors import DataError
from data.decoding import decoder_of
from data.packing.grouped_files_options import FilesPackOptions
from data.packing.record import Item, Member, Packer, Record
from data.sample import SampleError

Paths = dict[str, str]
"Member -> path below the folder."


class FilesPacker(Packer[Paths]):
    """Groups the files of a folder by a regular expression."""

    def __init__(self, options: FilesPackOptions, location: str) -> None:
        self._options = options
        self._root = Path(location)

    def items(self) -> Iterator[Item[Paths]]:
        for key, paths in sorted(self._grouped().items()):
            missing = [name for name in self._options.members or [] if name not in paths]
            if missing:
                raise DataError(
                    f"{self._root}: '{key}' has no {', '.join(missing)} (members), only {', '.join(sorted(paths))}."
                )
            wanted = self._options.members or sorted(paths)
            yield Item(key, key, {name: paths[name] for name in wanted})

    def encode(self, item: Item[Paths]) -> Record:
        members: dict[str, Member] = {}
        for name, path in item.content.items():
            try:
                content = (self._root / path).read_bytes()
                _require_decodable(name, content)
            except (ValueError, OSError) as error:
                raise SampleError(f"{self._root / path}: {error}") from None
            members[name] = content
        return Record(members)

    def _grouped(self) -> dict[str, Paths]:
        if not self._root.is_dir():
            raise DataError(f"{self._root}: no such folder.")
        pattern = re.compile(self._options.pattern)
        groups: dict[str, Paths] = {}
        for path in sorted(self._root.rglob("*")):
            name = path.relative_to(self._root).as_posix()
            matched = pattern.fullmatch(name)
            is_hidden = any(part.startswith(".") for part in name.split("/"))
            if matched is None or is_hidden or not path.is_file():
                continue
            found = matched.groupdict()
            member = ".".join(part for part in (found.get("member"), found["extension"]) if part).lower()
            if member in groups.setdefault(found["key"], {}):
                raise DataError(f"{path}: '{found['key']}' has two members {member}: {groups[found['key']][member]}.")
            groups[found["key"]][member] = name
        if not groups:
            raise DataError(f"{self._root}: no file matches the pattern {self._options.pattern!r}.")
        return groups


def _require_decodable(member: str, content: bytes) -> None:
    if member.endswith("json"):
        return
    try:
        decode = decoder_of(None, member)
    except DataError:  # of a kind that nothing here decodes: bytes
        return
    decode(content)
