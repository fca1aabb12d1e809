"""Options of every packer. Free of heavy imports: the command line is made from them.

Each field becomes a flag of `polytrain pack KIND`, its docstring the help text.
"""

from __future__ import annotations

from pydantic import Field

from configs.options import Part


class PackOptions(Part):
    """What every kind of corpus has."""

    corpus: str
    "Where it is."
    validation: float = Field(default=0.05, ge=0, lt=1)
    "Share of the examples held out."
    shard_mb: float = Field(default=256.0, gt=0)
    "Size at which a shard is closed, in 10^6 bytes."
    skip_bad: int = Field(default=0, ge=0)
    "Examples that may be damaged: counted, named and left out; one more stops packing."
