"""Options of embedders: fields of a batch -> tokens. Free of torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.options import Kind, Options, Part


class Embedder(Part):
    """What every embedder says of itself."""

    @property
    def longest(self) -> int | None:
        """The longest sequence, where there is one."""
        return None

    @property
    def num_positions(self) -> int | None:
        """Rows of a table of learned positions; None: it cannot have one."""
        return self.longest

    @property
    def num_prefix(self) -> int:
        """Tokens in front that have no place."""
        return 0

    @property
    def grid(self) -> tuple[int, ...] | None:
        """The grid that tokens stand on."""
        return None


class TextOptions(Embedder):
    """Token ids."""

    kind: Literal["text"] = "text"
    vocab_size: int = Field(gt=0)
    "Entries of the token embedding; at least the tokenizer's."
    max_length: int = Field(gt=0)
    "Longest sequence (tokens) the model is meant for; sizes learned positions."
    num_types: int = Field(default=0, ge=0)
    "Kinds of segments with a vector of their own (BERT: first and second sentence)."
    scaled: bool = False
    "Whether vectors are multiplied by sqrt(dim)."

    builds: ClassVar[str] = "model.embedders.text:TextEmbedder"

    @property
    def longest(self) -> int:
        return self.max_length


class VectorsOptions(Embedder):
    """Tokens that are vectors already: decoders of latents, stacks on top of another."""

    kind: Literal["vectors"] = "vectors"
    max_length: int | None = Field(default=None, gt=0)
    "Longest sequence; sizes learned positions."

    builds: ClassVar[str] = "model.embedders.vectors:VectorEmbedder"

    @property
    def longest(self) -> int | None:
        return self.max_length


class TableOptions(Embedder):
    """What embedders of tables have in common."""

    max_features: int = Field(gt=0)
    "Most feature columns; narrower tables are padded."
    max_classes: int = Field(ge=2)
    "Most classes."
    clip: float = Field(default=5.0, gt=0)
    "Largest magnitude of a standardised feature."


class TableRowsOptions(TableOptions):
    """Tables, one token per row (Hollmann et al. 2023, TabPFN)."""

    kind: Literal["table_rows"] = "table_rows"

    builds: ClassVar[str] = "model.embedders.table_rows:TableRowEmbedder"


class TableCellsOptions(TableOptions):
    """Tables, one token per cell (Hollmann et al. 2025, TabPFN v2); for `axial` mixers."""

    kind: Literal["table_cells"] = "table_cells"

    builds: ClassVar[str] = "model.embedders.table_cells:TableCellEmbedder"


class TupleElement(Options):
    """One element of every tuple: a vector of numbers, or a category."""

    width: int = Field(default=1, gt=0)
    "How many numbers."
    classes: int | None = Field(default=None, gt=0)
    "How many categories, where it is one."


class TuplesOptions(Embedder):
    """Sequences of tuples: (x, y) of a regression task, (state, action, reward) of a decision process."""

    kind: Literal["tuples"] = "tuples"
    elements: dict[str, TupleElement] = Field(min_length=1)
    "The elements by the names of their fields, in the order in which a model sees them."
    max_length: int | None = Field(default=None, gt=0)
    "Most tuples; sizes learned positions."

    builds: ClassVar[str] = "model.embedders.tuples:TupleEmbedder"

    @property
    def num_positions(self) -> int | None:
        return self.max_length and self.max_length * len(self.elements)


AnyEmbedder = Annotated[
    TextOptions | VectorsOptions | TableRowsOptions | TableCellsOptions | TuplesOptions, Kind(default="text")
]
