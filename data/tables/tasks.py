"""`TableTasks`: in-context classification tasks from real tables, in the format of the synthetic ones.

A task is `rows` rows of one table, one categorical column as the label and others as features:

    features      [R, C] float32   C = max_features; numbers, and categories as their codes; NaN is missing,
                                   columns from num_features on are zero
    label         [R] int64        0..num_classes-1, every one present, in random order of the classes
    num_features  [] int64
    num_classes   [] int64
    num_context   [] int64         the first so many rows are known, the others queried (data.tables.context)

as Hollmann et al. 2023 (TabPFN) and den Breejen et al. 2024 (TabForestPFN) draw theirs. Task i takes its rows from
chunk i mod chunks. Rows without a label are left out, rows are drawn without replacement. A task of a single class
is drawn again; the tenth such in a row is kept.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from configs.options import nearest
from data.randomness import stream
from data.sample import Sample, SampleError, fingerprint_of
from data.storage import Storage
from data.tables.chunks import ChunkPlace, Chunks
from data.tables.context import context_order, draw_num_context
from data.tables.options import TableTasksOptions
from data.tables.schema import Column, TableSchema

_ATTEMPTS = 10
_VERSION = 1


class TableTasks:
    """A `Source` and `RandomSource` of tasks."""

    def __init__(self, options: TableTasksOptions, storage: Storage | None = None) -> None:
        self.options = options
        self._chunks = Chunks(options.shards, options.schema_file, storage)
        self._targets = self._tables_with_targets()

    @property
    def fingerprint(self) -> int:
        """A 63-bit hash of the options, the schema and the shards."""
        tree = self.options.tree() | {"shards": None, "schema_file": None}
        content = json.dumps({"version": _VERSION, "options": tree}, sort_keys=True).encode()
        return fingerprint_of(content + self._chunks.content)

    def __len__(self) -> int:
        return self.options.size or len(self._places)

    def __getitem__(self, index: int) -> Sample:
        return self.draw(index, stream(self.options.seed, "table_tasks", int(index)))

    def draw(self, index: int, generator: np.random.Generator) -> Sample:
        """Task `index`, other rows and columns for every generator."""
        if not 0 <= index < len(self):
            raise IndexError(f"task {index} of {len(self)}")
        place = self._places[index % len(self._places)]
        for _ in range(_ATTEMPTS):
            task = self._task(place, generator)
            if int(task["num_classes"]) > 1:
                break
        return task

    def _task(self, place: ChunkPlace, generator: np.random.Generator) -> Sample:
        schema, targets = self._chunks.schema.tables[place.table], self._targets[place.table]
        target = targets[int(generator.integers(len(targets)))]
        numeric_RC, categorical_RC = self._rows(place, schema.categorical.index(target), generator)
        codes_R = categorical_RC[:, schema.categorical.index(target)]
        found, classes_R = np.unique(codes_R, return_inverse=True)
        num_context = draw_num_context(generator, self.options.context, len(classes_R))
        order_R = context_order(generator, classes_R, num_context)
        features_RC = self._features(schema, target, numeric_RC, categorical_RC, generator)
        padded_RC = np.zeros((len(order_R), self.options.max_features), dtype=np.float32)
        padded_RC[:, : features_RC.shape[1]] = features_RC[order_R]
        numbers = {
            "num_features": features_RC.shape[1],
            "num_classes": len(found),
            "num_context": num_context,
        }
        label_R = generator.permutation(len(found))[classes_R[order_R]]
        scalars = {name: np.array(value, dtype=np.int64) for name, value in numbers.items()}
        return {"features": padded_RC, "label": label_R.astype(np.int64), **scalars}

    def _rows(
        self, place: ChunkPlace, target: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Rows whose target is known, from this chunk and as many others of its table as are asked for or needed."""
        numeric, categorical, found = [], [], 0
        for number, chunk in enumerate(itertools.chain([place], self._others(place, generator))):
            if number >= self.options.chunks and found >= self.options.rows:
                break
            numeric_RC, categorical_RC = self._chunks.read(chunk)
            known_R = categorical_RC[:, target] >= 0
            numeric.append(numeric_RC[known_R])
            categorical.append(categorical_RC[known_R])
            found += int(known_R.sum())
        if found < self.options.rows:
            name = self._chunks.schema.tables[place.table].categorical[target].name
            raise SampleError(
                f"{self._chunks.where(place)}: table '{place.table}' has {found} rows with a value of '{name}' "
                f"in these shards, a task takes {self.options.rows}. Lower the key 'rows', or leave the table out "
                "of 'tables'."
            )
        chosen = generator.choice(found, size=self.options.rows, replace=False)
        return np.concatenate(numeric)[chosen], np.concatenate(categorical)[chosen]

    def _others(self, place: ChunkPlace, generator: np.random.Generator) -> Iterator[ChunkPlace]:
        """The other chunks of the same table in random order."""
        table = self._places_of[place.table]
        yield from (table[int(number)] for number in generator.permutation(len(table)) if table[int(number)] != place)

    def _features(
        self,
        schema: TableSchema,
        target: Column,
        numeric_RC: NDArray[np.float32],
        categorical_RC: NDArray[np.int32],
        generator: np.random.Generator,
    ) -> NDArray[np.float32]:
        """At most `max_features` columns, in the order of the schema; categories as numbers."""
        usable = [column for column in schema.columns if column != target and column.name not in self.options.exclude]
        if len(usable) > self.options.max_features:
            chosen = np.sort(generator.choice(len(usable), self.options.max_features, replace=False))
            usable = [usable[int(number)] for number in chosen]
        codes_RC = np.where(categorical_RC < 0, np.float32(np.nan), categorical_RC.astype(np.float32))
        numeric, categorical = schema.numeric, schema.categorical
        return np.stack(
            [
                codes_RC[:, categorical.index(column)]
                if column.type == "categorical"
                else numeric_RC[:, numeric.index(column)]
                for column in usable
            ],
            axis=1,
        )

    @cached_property
    def _places(self) -> list[ChunkPlace]:
        """The chunks that tasks begin with."""
        return [place for place in self._chunks.places if place.table in self._targets]

    @cached_property
    def _places_of(self) -> dict[str, list[ChunkPlace]]:
        """The chunks of every table."""
        return {table: [place for place in self._places if place.table == table] for table in self._targets}

    def _tables_with_targets(self) -> dict[str, list[Column]]:
        """The columns of each table that a task may ask for."""
        options, known = self.options, self._chunks.schema.tables
        for name in options.tables or []:
            if name not in known:
                raise DataError(f"tables: no table '{name}' in these shards; {nearest(name, known)}")
        names = {column.name for schema in known.values() for column in schema.columns}
        for name in options.exclude:
            if name not in names:
                raise DataError(f"exclude: no column '{name}' in these shards; {nearest(name, names)}")
        found, reasons = {}, []
        for table in options.tables or known:
            targets, reason = self._targets_of(table)
            if reason and options.tables:
                raise DataError(f"table '{table}': {reason}")
            if reason:
                reasons.append(f"'{table}': {reason}")
            else:
                found[table] = targets
        if not found:
            raise DataError("no table has tasks: " + "; ".join(reasons))
        return found

    def _targets_of(self, table: str) -> tuple[list[Column], str]:
        """Possible targets of a table, or why there is none."""
        options, schema = self.options, self._chunks.schema.tables[table]
        rows = sum(place.rows for place in self._chunks.places if place.table == table)
        if rows < options.rows:
            return [], f"{rows} rows in these shards, a task takes {options.rows} (the key 'rows')"
        wanted = options.target or (None if options.any_target else schema.target)
        columns = [column for column in schema.columns if column.name not in options.exclude]
        if wanted is not None and wanted not in [column.name for column in columns]:
            return [], f"has no column '{wanted}'"
        found = [
            column
            for column in columns
            if 2 <= column.num_categories <= options.max_classes and wanted in (None, column.name)
        ]
        if not found:
            subject = f"column '{wanted}' is not" if wanted else "no column is"
            return [], f"{subject} categorical with 2 to {options.max_classes} categories (the key 'max_classes')"
        if len(columns) < 2:
            return [], "has no column beside the target"
        return found, ""
