"""Tables: typed columns, tasks of known and queried rows, time series.

Belongs here: what the columns of packed tables are, sources over packed chunks, and transforms of tables, synthetic
ones (`data.priors.tables`) included: both have the same fields.

    data.tables.options       options of every table source and transform
    data.tables.schema        `Schema`: what the columns are, beside the shards
    data.tables.chunks        packed chunks, read from shards
    data.tables.tasks         in-context classification tasks from chunks
    data.tables.rows          single rows from chunks
    data.tables.context       known and queried rows
    data.tables.augment       other orders of columns and classes, missing and masked cells
    data.tables.scaling       columns on a common scale, by the known rows
    data.tables.describe      the first rows as text
    data.tables.series        crops, scaling and forecasting splits of series

Shape suffixes: R rows, C columns or channels (Cn numeric, Cc categorical), T steps of a series.
"""

__all__ = [
    "augment",
    "chunks",
    "context",
    "describe",
    "options",
    "rows",
    "scaling",
    "schema",
    "series",
    "tasks",
]
