"""Tables: typed columns, tasks of known and queried rows, time series.

Belongs here: how files of tables and series are read and what their columns are, sources over packed chunks, and
transforms of tables, synthetic ones (`data.priors.tables`) included: both have the same fields.

    data.tables.options       options of every table source and transform

    data.tables.records       where the records of delimited text begin
    data.tables.files         text and parquet, read by ranges of rows
    data.tables.columns       cells -> numbers, seconds, names
    data.tables.survey        the first passes: types, categories, means
    data.tables.schema        `Schema`: what the columns are, beside the shards
    data.tables.encode        rows -> the arrays of a chunk
    data.tables.sides         train and validation by the value of a column

    data.tables.chunks        packed chunks, read from shards
    data.tables.tasks         in-context classification tasks from chunks
    data.tables.rows          single rows from chunks
    data.tables.context       known and queried rows
    data.tables.augment       other orders of columns and classes, missing and masked cells
    data.tables.scaling       columns on a common scale, by the known rows
    data.tables.describe      the first rows as text

    data.tables.ts_format     the text format of aeon and sktime
    data.tables.series_files  sets of series in .ts and delimited text
    data.tables.series        crops, scaling and forecasting splits of series

Shape suffixes: R rows, C columns or channels (Cn numeric, Cc categorical), T steps of a series.
"""

__all__ = [
    "augment",
    "chunks",
    "columns",
    "context",
    "describe",
    "encode",
    "files",
    "options",
    "records",
    "rows",
    "scaling",
    "schema",
    "series",
    "series_files",
    "sides",
    "survey",
    "tasks",
    "ts_format",
]
