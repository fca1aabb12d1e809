"""Tables: typed columns, tasks of known and queried rows, time series.

data.tables.options   options of every table source and transform
"""

__all__ = ["options"]
