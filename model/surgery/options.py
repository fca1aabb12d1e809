"""Options of every edit. Free of torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.options import Kind, Part
from model.selectors import Patterns, num_wildcards


class LoadOptions(Part):
    """Start from trained weights, where there is no checkpoint of this run yet."""

    kind: Literal["load"] = "load"
    path: str = Field(min_length=1)
    "A .safetensors file, a folder of them, or the folder of another run (its newest checkpoint)."
    rename: dict[str, str] = Field(default_factory=dict)
    "Names there -> names here, as patterns: 'model.**': 'transformer.**'. The first that matches holds."
    allow_missing: Patterns | None = None
    "Parameters of this model that may be missing there; they start from their initial values."
    allow_unexpected: Patterns | None = None
    "Names there (renamed) that may have no place here."
    resize: bool = False
    "Whether tables of another vocabulary or of other learned positions are fitted to this model's."

    builds: ClassVar[str] = "model.surgery.load:Load"

    @model_validator(mode="after")
    def _check_rename(self) -> Self:
        for theirs, ours in self.rename.items():
            if num_wildcards(theirs) != num_wildcards(ours):
                raise ValueError(f"rename '{theirs}': '{ours}' has another number of wildcards")
        return self


class FreezeOptions(Part):
    """Parameters that are not trained. They have no optimizer state and no share in the gradient norm."""

    kind: Literal["freeze"] = "freeze"
    select: Patterns
    "Names of parameters."

    builds: ClassVar[str] = "model.surgery.freeze:Freeze"


class UnfreezeOptions(Part):
    """Parameters that are trained after all."""

    kind: Literal["unfreeze"] = "unfreeze"
    select: Patterns
    "Names of parameters."

    builds: ClassVar[str] = "model.surgery.freeze:Unfreeze"


class LoRAOptions(Part):
    """Low-rank adapters (Hu et al. 2022): y = W x + b + alpha / rank * B A x, with W and b frozen."""

    kind: Literal["lora"] = "lora"
    select: Patterns
    "Names of plain linear layers: 'transformer.blocks.*.mixer.[qv]*'; output matrices are none."
    rank: int = Field(gt=0)
    "Rows of A, columns of B."
    alpha: float = Field(gt=0)
    "Over `rank`, the factor of the change."
    dropout: float = Field(default=0.0, ge=0, lt=1)
    "Dropout of what A reads."

    builds: ClassVar[str] = "model.surgery.lora:LoRA"


class PromptsOptions(Part):
    """Learned vectors in front of every document, in the main transformer (Lester et al. 2021)."""

    kind: Literal["prompts"] = "prompts"
    length: int = Field(gt=0)
    "How many."
    where: Literal["input"] = "input"
    "Before the first block."

    builds: ClassVar[str] = "model.surgery.prompts:SoftPrompts"


class ZeroInitOptions(Part):
    """Parameters that start at zero: a branch whose last projection is zero begins as the identity."""

    kind: Literal["zero_init"] = "zero_init"
    select: Patterns
    "Names of parameters."

    builds: ClassVar[str] = "model.surgery.zero_init:ZeroInit"


AnyEdit = Annotated[
    LoadOptions | FreezeOptions | UnfreezeOptions | LoRAOptions | PromptsOptions | ZeroInitOptions, Kind()
]
