"""Options of mixers: how tokens exchange information. Free of torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.options import Kind, Part


class AttentionOptions(Part):
    """Multi-head softmax attention (Vaswani et al. 2017)."""

    kind: Literal["attention"] = "attention"
    num_heads: int = Field(gt=0)
    "Query heads H."
    num_kv_heads: int | None = Field(default=None, gt=0)
    "Key-value heads G (Ainslie et al. 2023, grouped-query attention). Default: as many as query heads."
    head_dim: int | None = Field(default=None, gt=0)
    "Width of a head K. Default: dim / num_heads."
    window: int | None = Field(default=None, gt=0)
    "Tokens that a query sees to either side (backwards only where attention is causal), itself not counted."
    dilation: int | None = Field(default=None, gt=0)
    "Of those, a query sees only tokens at a distance that is a multiple of this (Child et al. 2019, strided)."
    block: int | None = Field(default=None, gt=0)
    "Of those, a query sees only tokens of its own block: the row is cut into blocks of so many places."
    global_tokens: int = Field(default=0, ge=0)
    "Beside that, the first so many tokens of the row see everyone, and everyone sees them (Beltagy et al. 2020)."
    bias: bool | None = None
    "Biases of the four projections. Default: the model's."
    key_bias: bool | None = None
    "Bias of the key projection. Default: `bias`."
    output_bias: bool | None = None
    "Bias of the output projection. Default: `bias`."
    qk_norm: Literal["none", "rms"] = "none"
    "Norm of every head's queries and keys (Henry et al. 2020), before rotation."
    softcap: float | None = Field(default=None, gt=0)
    "Scores s become softcap * tanh(s / softcap)."
    scale: float | None = Field(default=None, gt=0)
    "Factor of the scores. Default: 1 / sqrt(K)."
    dropout: float = Field(default=0.0, ge=0, lt=1)
    "Dropout of attention weights."

    builds: ClassVar[str] = "model.mixers.attention:Attention"

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.num_heads % self.kv_heads:
            raise ValueError(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.kv_heads}")
        if self.global_tokens and self.window is self.dilation is self.block is None:
            raise ValueError("global_tokens needs window, dilation or block: without them every token is global")
        return self

    @property
    def kv_heads(self) -> int:
        """G."""
        return self.num_kv_heads or self.num_heads

    def head_width(self, dim: int) -> int:
        """K, in a model of width `dim`."""
        return self.head_dim or dim // self.num_heads

    def require(self, dim: int) -> None:
        """Check that it fits a model of width `dim`."""
        if self.head_dim is None and dim % self.num_heads:
            raise ValueError(
                f"dim {dim} is not a multiple of mixer.num_heads {self.num_heads}; change one, or set mixer.head_dim"
            )


class AxialOptions(AttentionOptions):
    """Attention along one axis of the grid that tokens stand on, every line for itself (Ho et al. 2019)."""

    kind: Literal["axial"] = "axial"  # type: ignore[assignment]
    axis: int = Field(ge=0)
    "Along which axis. Of a table: 0 mixes the cells of a column, 1 those of a row."

    builds: ClassVar[str] = "model.mixers.axial:Axial"


AnyMixer = Annotated[AttentionOptions | AxialOptions, Kind(default="attention")]
