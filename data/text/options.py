"""Options of text sources. Free of heavy imports."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from data.shard_names import ShardNames
from data.storage import StoredPart


class TokenWindowsOptions(StoredPart):
    """Windows over the concatenated, tokenised documents of webdataset shards."""

    kind: Literal["token_windows"] = "token_windows"
    shards: ShardNames
    "Shard names: paths or URLs, globs and braces, such as shards/quickstart/train-{000000..000003}.tar."
    length: int = Field(gt=0)
    "Input tokens per sequence."

    builds: ClassVar[str] = "data.text.windows:TokenWindows"
