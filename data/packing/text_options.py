"""Options of `polytrain pack text`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from data.packing.options import PackOptions


class TextPackOptions(PackOptions):
    """Texts, as token ids: the standard library, folders, files, data sets."""

    kind: Literal["text"] = "text"
    vocab_size: int = Field(default=4096, gt=0)
    "Entries of the tokenizer to train."
    tokenizer: str | None = None
    "A tokenizer.json to use instead of training one."

    builds: ClassVar[str] = "data.packing.text:TextPacker"
