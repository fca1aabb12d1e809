"""Options of the packers of tables, time series and arrays. Free of heavy imports."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from data.packing.options import PackOptions

ColumnType = Literal["numeric", "categorical", "datetime"]
DatetimePart = Literal["year", "month", "day", "weekday", "hour", "minute"]


class TablePackOptions(PackOptions):
    """Tables of typed columns: .csv, .tsv (also .gz, .zip) or .parquet; one file, or a folder of tables."""

    kind: Literal["table"] = "table"
    rows_per_sample: int = Field(default=1024, gt=0)
    "Rows of one sample. The last one of a table has fewer."
    include: list[str] | None = None
    "The columns to keep; null keeps all."
    exclude: list[str] = Field(default_factory=list)
    "Columns to leave out (free text, names, numbers that only identify a row)."
    types: dict[str, ColumnType] = Field(default_factory=dict)
    "Types of columns that are not what they look like: {zip_code: categorical}."
    target: str | None = None
    "The column to predict. It stays a column like any other; schema.json names it."
    categorical_ints: int = Field(default=0, ge=0)
    "Columns of whole numbers with at most this many values are categorical; 0 leaves them numeric."
    max_categories: int = Field(default=1000, gt=0)
    "Categories kept of a column, the most frequent ones. All others share one more category."
    datetime_parts: list[DatetimePart] = Field(default_factory=list)
    "Columns to add for every date or time, such as `month` and `hour`, beside its seconds."
    missing: list[str] = Field(default_factory=lambda: ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"])
    "Texts that mean a missing cell, blanks around them left out."
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    "What separates the cells of a line; null: a tab in .tsv, else a comma."
    names: list[str] | None = None
    "Names of the columns, for text files whose first line does not name them."
    one_table: bool = False
    "The files of the folder are parts of one table, with the same columns."
    group_column: str | None = None
    "Rows with the same value here never fall on both sides of the train/validation split."
    split_column: str | None = None
    "Says of each row on which side it falls; left out of the columns. Values: see `validation_values`."
    train_values: list[str] = Field(default_factory=lambda: ["train", "training"])
    "Values of `split_column` that mean training."
    validation_values: list[str] = Field(default_factory=lambda: ["validation", "valid", "val", "dev", "test"])
    "Values of `split_column` that mean validation. A value in neither list is an error."

    builds: ClassVar[str] = "data.packing.tables.packer:TablePacker"

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        if self.group_column is not None and self.split_column is not None:
            raise ValueError("group_column and split_column both decide the split; give one")
        return self


class SeriesPackOptions(PackOptions):
    """Time series: .ts files (aeon, sktime), or .csv with a series in each row (wide) or with a step in each (long)."""

    kind: Literal["series"] = "series"
    problem: str | None = None
    "Of a folder of .ts files: which problem (the file name without _TRAIN.ts and _TEST.ts)."
    layout: Literal["wide", "long"] = "wide"
    "Of a .csv: one series a row, its columns the steps; or one step a row, its columns the channels."
    label_column: str | None = None
    "Of a .csv: the column of the class. In long files the first row of a series decides."
    id_column: str | None = None
    "Of a .csv: the column that names the series. Long files need one; their rows must lie together."
    ignore: list[str] = Field(default_factory=list)
    "Of a .csv: columns that are neither steps nor channels (a time stamp)."

    builds: ClassVar[str] = "data.packing.tables.series:SeriesPacker"


class ArrayPackOptions(PackOptions):
    """Numeric arrays whose first dimension is samples: an .npy, an .npz, or a folder of .npy files side by side."""

    kind: Literal["arrays"] = "arrays"
    labels: str | None = None
    "The name of the array of class numbers, written as `cls`."
    groups: str | None = None
    "The name of an array, not packed; samples with the same value in it never fall on both sides of the split."

    builds: ClassVar[str] = "data.packing.tables.arrays:ArrayPacker"
