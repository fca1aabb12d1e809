"""`ShardNames`: the type of every `shards` key: one name or a list of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


ShardNames = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
"Paths or URLs, globs and braces, such as shards/quickstart/train-{000000..000003}.tar."
