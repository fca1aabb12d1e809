"""Options of `polytrain pack source`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from data.packing.options import PackOptions


class SourcePackOptions(PackOptions):
    """The samples of any source: a YAML file with the options of one, or a recipe."""

    kind: Literal["source"] = "source"
    key: str = ""
    "Where the source is in that file, such as data.train; empty for the whole file."
    validation: float = Field(default=0.0, ge=0, lt=1)
    "Share of the examples held out."

    builds: ClassVar[str] = "data.packing.any_source:SourcePacker"
