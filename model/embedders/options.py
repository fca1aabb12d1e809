"""Options of embedders: fields of a batch -> tokens. Free of torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.options import Kind, Part


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


AnyEmbedder = Annotated[TextOptions | VectorsOptions, Kind(default="text")]
