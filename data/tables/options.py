"""Options of every table source and transform, and of those of time series. Free of heavy imports."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from configs.options import Part
from data.shard_names import ShardNames
from data.storage import StoredPart


def _both_ends(value: object) -> object:
    return [value, value] if isinstance(value, int | float) else value


Share = Annotated[
    list[Annotated[float, Field(strict=False)]],
    BeforeValidator(_both_ends, json_schema_input_type=float | list[float]),
    Field(min_length=2, max_length=2),
]
"A share from 0 to 1, or [least, greatest]: each sample then draws its own between them."


class _ShareOptions(Part):
    """A part with shares, each in order."""

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        for name in ("context", "share"):
            low, high = getattr(self, name, (0.0, 1.0))
            if not 0 <= low <= high <= 1:
                raise ValueError(f"{name}: [{low}, {high}]; expected 0 <= least <= greatest <= 1")
        return self


class TableTasksOptions(_ShareOptions, StoredPart):
    """In-context classification tasks from packed tables: rows, a target column, known and queried rows."""

    kind: Literal["table_tasks"] = "table_tasks"
    shards: ShardNames
    "Shards of `polytrain pack table`."
    schema_file: str | None = None
    "Where schema.json is; null: beside the first shard."
    tables: list[str] | None = None
    "Tables to take tasks from; null: every one that has a target and enough rows."
    seed: int = Field(default=0, ge=0)
    "Decides the tasks."
    size: int | None = Field(default=None, gt=0)
    "Tasks of one epoch; null: as many as there are chunks."
    rows: int = Field(default=256, ge=2)
    "Rows R of every task."
    chunks: int = Field(default=1, gt=0)
    "Chunks of the same table that the rows are drawn from; more are taken where they have too few rows."
    target: str | None = None
    "The column to predict; null: the target that schema.json names, else one drawn for each task."
    any_target: bool = False
    "Draw the target even where schema.json names one."
    exclude: list[str] = Field(default_factory=list)
    "Columns that are never features nor target (what gives the target away)."
    max_features: int = Field(default=20, gt=0)
    "Columns C of `features`: wider tables draw so many columns for each task, narrower ones are padded with zeros."
    max_classes: int = Field(default=10, ge=2)
    "Most categories of a column that may be a target."
    context: Share = Field(default_factory=lambda: [0.5, 0.5])
    "Share of the rows that are known: `num_context` of the first rows."

    builds: ClassVar[str] = "data.tables.tasks:TableTasks"

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        if self.any_target and self.target is not None:
            raise ValueError("target names a column and any_target asks to draw one; give one of them")
        return self


class TableRowsOptions(StoredPart):
    """The rows of one packed table, one by one."""

    kind: Literal["table_rows"] = "table_rows"
    shards: ShardNames
    "Shards of `polytrain pack table`."
    schema_file: str | None = None
    "Where schema.json is; null: beside the first shard."
    table: str | None = None
    "Which table; null where there is only one."
    target: str | None = None
    "The column that becomes `label`; null: the target that schema.json names, if any."

    builds: ClassVar[str] = "data.tables.rows:TableRows"


class ContextSplitOptions(_ShareOptions):
    """Shuffles the rows of a table and says how many of the first ones are known."""

    kind: Literal["context_split"] = "context_split"
    context: Share = Field(default_factory=lambda: [0.5, 0.5])
    "Share of the rows that are known."

    builds: ClassVar[str] = "data.tables.context:ContextSplit"


class PermuteFeaturesOptions(Part):
    """Puts the feature columns in random order; padding stays last."""

    kind: Literal["permute_features"] = "permute_features"

    builds: ClassVar[str] = "data.tables.augment:PermuteFeatures"


class PermuteClassesOptions(Part):
    """Gives the classes random numbers."""

    kind: Literal["permute_classes"] = "permute_classes"

    builds: ClassVar[str] = "data.tables.augment:PermuteClasses"


class DropCellsOptions(_ShareOptions):
    """Makes feature cells missing, completely at random."""

    kind: Literal["drop_cells"] = "drop_cells"
    share: Share
    "Probability of a cell to go missing."

    builds: ClassVar[str] = "data.tables.augment:DropCells"


class MaskCellsOptions(_ShareOptions):
    """Adds `mask`: known feature cells that a model is to reconstruct. `features` keeps their values."""

    kind: Literal["mask_cells"] = "mask_cells"
    share: Share
    "Probability of a cell that is neither missing nor padding to be masked."

    builds: ClassVar[str] = "data.tables.augment:MaskCells"


class StandardizeOptions(Part):
    """Scales feature columns to mean 0 and standard deviation 1 over the known rows."""

    kind: Literal["standardize"] = "standardize"
    clip: float | None = Field(default=None, gt=0)
    "Cut values off at this many standard deviations."

    builds: ClassVar[str] = "data.tables.scaling:Standardize"


class QuantileOptions(Part):
    """Replaces feature values by their mid-rank among the known rows, in (0, 1)."""

    kind: Literal["quantile"] = "quantile"

    builds: ClassVar[str] = "data.tables.scaling:Quantile"


class RankGaussOptions(Part):
    """Replaces feature values by the normal quantile of their mid-rank among the known rows."""

    kind: Literal["rank_gauss"] = "rank_gauss"

    builds: ClassVar[str] = "data.tables.scaling:RankGauss"


class CropSeriesOptions(Part):
    """Cuts a random stretch of fixed length out of a series; shorter ones are padded with zeros at the end."""

    kind: Literal["crop_series"] = "crop_series"
    field: str = "series"
    "The field of the series [T, C]."
    length: int = Field(gt=0)
    "Steps. The field `length` says how many of them are no padding."

    builds: ClassVar[str] = "data.tables.series:CropSeries"


class StandardizeSeriesOptions(Part):
    """Scales every channel of a series to mean 0 and standard deviation 1; adds `series_mean` and `series_std` [C]."""

    kind: Literal["standardize_series"] = "standardize_series"
    field: str = "series"
    "The series [T, C] whose mean and deviation are taken, without the padding that `length` tells of."
    also: list[str] = Field(default_factory=list)
    "Fields scaled by the same numbers: [horizon] beside `field: context`, so that nothing of the future leaks."

    builds: ClassVar[str] = "data.tables.series:StandardizeSeries"


class ForecastSplitOptions(Part):
    """A random window of a series as `context` [context, C] and what follows it, `horizon` [horizon, C]."""

    kind: Literal["forecast_split"] = "forecast_split"
    field: str = "series"
    "The field of the series [T, C]; it is left out of the result."
    context: int = Field(gt=0)
    "Known steps."
    horizon: int = Field(gt=0)
    "Steps to forecast."

    builds: ClassVar[str] = "data.tables.series:ForecastSplit"


AnyTableSource = TableTasksOptions | TableRowsOptions

AnyTableTransform = (
    ContextSplitOptions
    | PermuteFeaturesOptions
    | PermuteClassesOptions
    | DropCellsOptions
    | MaskCellsOptions
    | StandardizeOptions
    | QuantileOptions
    | RankGaussOptions
    | CropSeriesOptions
    | StandardizeSeriesOptions
    | ForecastSplitOptions
)
