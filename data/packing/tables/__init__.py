"""Tables, time series and arrays -> records.

data.packing.tables.packer        tables of typed columns -> chunks of rows
data.packing.tables.series        sets of time series -> one sample each
data.packing.tables.arrays        numeric arrays -> one sample per row
data.packing.tables.options       options of the three
data.packing.tables.files         tables in text files and parquet: columns, places, ranges of rows
data.packing.tables.records       records of a text file, quoted line ends respected
data.packing.tables.survey        a first look at all rows: types, categories, statistics
data.packing.tables.columns       cells -> numbers, times, texts
data.packing.tables.encode        rows -> the arrays that are packed
data.packing.tables.sides         train and validation by row, where a column decides
data.packing.tables.series_files  series in .ts files and tables
data.packing.tables.ts_format     the .ts format
"""

__all__ = [
    "arrays",
    "columns",
    "encode",
    "files",
    "options",
    "packer",
    "records",
    "series",
    "series_files",
    "sides",
    "survey",
    "ts_format",
]
