"""The description of a transformer. Free of torch, so that recipes are checked quickly."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.options import Kind, Part


class TransformerOptions(Part):
    """A pre-norm transformer over token ids."""

    kind: Literal["transformer"] = "transformer"
    vocab_size: int = Field(gt=0)
    "Entries of the token embedding; at least the tokenizer's."
    max_length: int = Field(gt=0)
    "Longest sequence (tokens) the model is meant for; sizes learned positions."
    dim: int = Field(gt=0)
    "Model width D."
    num_layers: int = Field(gt=0)
    "Blocks."
    num_heads: int = Field(gt=0)
    "Query heads H."
    num_kv_heads: int | None = Field(default=None, gt=0)
    "Key-value heads G (Ainslie et al. 2023, grouped-query attention). Default: as many as query heads."
    head_dim: int | None = Field(default=None, gt=0)
    "Width of a head K. Default: dim / num_heads."
    hidden_dim: int | None = Field(default=None, gt=0)
    "Feed-forward width F. Default: 4 dim, or 8/3 dim rounded up to a multiple of 32 when gated."
    feed_forward: Literal["gelu", "gelu_tanh", "swiglu"] = "swiglu"
    "gelu and gelu_tanh are plain two-matrix layers, swiglu is gated (Shazeer 2020)."
    norm: Literal["layer", "rms"] = "rms"
    "Layer norm (Ba et al. 2016) or RMS norm (Zhang and Sennrich 2019)."
    norm_eps: float = Field(default=1e-5, gt=0)
    "Added to the variance."
    positions: Literal["learned", "rotary"] = "rotary"
    "Learned absolute positions, or rotary embedding of queries and keys (Su et al. 2021)."
    rotary_base: float = Field(default=10000.0, gt=0)
    "Base of the rotary frequencies."
    bias: bool = False
    "Biases in linear layers and layer norms."
    dropout: float = Field(default=0.0, ge=0, lt=1)
    "Dropout after the embedding and on every residual branch."
    documents: Literal["separate", "joined"] = "separate"
    "Whether a token sees only its own document of a packed window, or all earlier tokens of the window."
    init_std: float = Field(default=0.02, gt=0)
    "Standard deviation of initial matrices; projections back into the residual stream get 1/sqrt(2 layers) of it."

    builds: ClassVar[str] = "model.transformer:Transformer"

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.head_dim is None and self.dim % self.num_heads:
            raise ValueError(
                f"dim {self.dim} is not a multiple of num_heads {self.num_heads}; change one, or set head_dim"
            )
        if self.num_heads % self.kv_heads:
            raise ValueError(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.kv_heads}")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions need an even head width, found {self.head_width}")
        return self

    @property
    def kv_heads(self) -> int:
        """G."""
        return self.num_kv_heads or self.num_heads

    @property
    def head_width(self) -> int:
        """K."""
        return self.head_dim or self.dim // self.num_heads

    @property
    def hidden_width(self) -> int:
        """F."""
        if self.hidden_dim:
            return self.hidden_dim
        return -(-8 * self.dim // (3 * 32)) * 32 if self.feed_forward == "swiglu" else 4 * self.dim

    def num_parameters(self) -> int:
        """Trainable numbers of the transformer (a head of its own not included)."""
        bias = int(self.bias)
        norm = self.dim * (1 + (bias if self.norm == "layer" else 0))
        query, key_value = self.num_heads * self.head_width, self.kv_heads * self.head_width
        attention = self.dim * (2 * query + 2 * key_value) + bias * (query + 2 * key_value + self.dim)
        num_in = 2 if self.feed_forward == "swiglu" else 1
        feed_forward = (num_in + 1) * self.dim * self.hidden_width + bias * (num_in * self.hidden_width + self.dim)
        embedding = self.dim * (self.vocab_size + (self.max_length if self.positions == "learned" else 0))
        return embedding + self.num_layers * (attention + feed_forward + 2 * norm) + norm


AnyModel = Annotated[TransformerOptions, Kind(default="transformer")]
