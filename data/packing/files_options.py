"""Options of `polytrain pack files`."""

from __future__ import annotations

import re
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from data.packing.options import PackOptions


class FilesPackOptions(PackOptions):
    """Files that belong together, kept as they are: image and depth, image and mask, sound and score."""

    kind: Literal["files"] = "files"
    pattern: str = r"(?P<key>.+?)(?:[._-](?P<member>[A-Za-z]+))?\.(?P<extension>[^./]+)"
    "A regular expression for paths below the folder, with the groups key, extension and, if it has several, member."
    members: list[str] | None = None
    "Members that every sample must have, such as left.png disp.npz. Null: whatever there is."

    builds: ClassVar[str] = "data.packing.files:FilesPacker"

    @model_validator(mode="after")
    def _check_pattern(self) -> Self:
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ValueError(f"pattern: not a regular expression: {error}") from None
        if not {"key", "extension"} <= groups.keys():
            raise ValueError("pattern: expected the groups (?P<key>...) and (?P<extension>...)")
        return self
