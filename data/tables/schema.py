"""`Schema`: what the columns of packed tables are. It lies beside the shards as schema.json.

A packed chunk of R rows holds two arrays whose columns are those of its `TableSchema`, in order:

    numeric      [R, Cn] float32   numbers and datetimes; NaN is missing
    categorical  [R, Cc] int32     codes, places in the list of categories; -1 is missing
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from configs.errors import DataError
from configs.options import Options, nearest

SCHEMA_FILE = "schema.json"


class Column(Options):
    """One column of a packed table."""

    name: str
    "Its name in the file; a part of a datetime is called `COLUMN.PART`."
    type: Literal["numeric", "datetime", "categorical"]
    "A datetime is stored as seconds since `origin`."
    missing: int = 0
    "Cells without a value (among numbers also those that are infinite)."
    mean: float | None = None
    "Mean of the values that are not missing; null for categories and empty columns."
    std: float | None = None
    "Their standard deviation (divided by n)."
    origin: float | None = None
    "Of a datetime: its earliest moment, in seconds since 1970 (UTC). float32 keeps 7 digits of the difference."
    source: str | None = None
    "The column of the file that a part of a datetime is taken from."
    part: str | None = None
    "Which part: year, month, day, weekday (Monday is 0), hour, minute."
    categories: list[str] = Field(default_factory=list)
    "By falling frequency, then by name."
    other: bool = False
    "Whether one more code, after those of `categories`, stands for all rarer ones."

    @property
    def num_categories(self) -> int:
        """Codes that occur."""
        return len(self.categories) + self.other


class TableSchema(Options):
    """The columns of one table."""

    rows: int
    "Rows of the whole table, both sides of a split together; so are the statistics of the columns."
    columns: list[Column]
    "In the order of the file."
    target: str | None = None
    "The column to predict, where the packer was told one."

    @property
    def numeric(self) -> list[Column]:
        """The columns of the member `numeric`."""
        return [column for column in self.columns if column.type != "categorical"]

    @property
    def categorical(self) -> list[Column]:
        """The columns of the member `categorical`."""
        return [column for column in self.columns if column.type == "categorical"]

    def column(self, name: str, where: str) -> Column:
        """The column called `name`.

        Raises:
            DataError: when there is none; `where` says who asks.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise DataError(f"{where}: no column '{name}'; {nearest(name, [column.name for column in self.columns])}")


class Schema(Options):
    """The tables of a packed corpus."""

    tables: dict[str, TableSchema]
    "By name: the path in the folder, without the suffix."

    def to_bytes(self) -> bytes:
        """The content of schema.json."""
        return json.dumps(self.tree(), indent=1).encode() + b"\n"


def load_schema(path: Path) -> Schema:
    """Read a schema.json.

    Raises:
        DataError: when it is missing or not a schema.
    """
    try:
        return Schema.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}. It is written by: polytrain pack table") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"{path}: not the schema of packed tables: {'.'.join(map(str, first['loc']))}: {first['msg']}. "
            "Pack the tables again."
        ) from None
