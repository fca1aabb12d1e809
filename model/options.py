"""The description of a transformer. Free of torch, so that recipes are checked quickly.

A block is described by `BlockOptions`; a transformer is an embedder, the blocks of its layer plan, and a final norm.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, model_validator

from configs.options import Kind, Options, Part
from model.embedders.options import AnyEmbedder, TextOptions
from model.mixers.options import AnyMixer, AttentionOptions
from model.positions.options import AnyPositions, RotaryPositions

FeedForwardKind = Literal[
    "none", "relu", "gelu", "gelu_tanh", "quick_gelu", "silu", "reglu", "geglu", "geglu_tanh", "swiglu"
]
GATED = ("reglu", "geglu", "geglu_tanh", "swiglu")


class InitOptions(Options):
    """Initial weights. Matrices are normal; norms are one; biases are zero."""

    std: float = Field(default=0.02, gt=0)
    "Standard deviation of matrices and embeddings."
    depth: Literal["residual", "none"] = "residual"
    "residual: projections back into the stream get 1/sqrt(residual branches) of it (Radford et al. 2019, 2.3)."
    base_dim: int | None = Field(default=None, gt=0)
    """muP (Yang et al. 2022, table 8): the width at which std, learning rate and weight decay were found; they then
    hold for every `dim`. Heads keep their width and grow in number; the feed-forward layer grows with the model."""


class BlockOptions(Options):
    """One block: a mixer, perhaps cross-attention, and a feed-forward layer, each with a residual branch."""

    dim: int = Field(gt=0)
    "Model width D."
    mixer: AnyMixer
    "How tokens exchange information."
    cross: bool = False
    "Whether tokens also attend to a memory: the output of an encoder (heads as the mixer's)."
    feed_forward: FeedForwardKind = "swiglu"
    "The activation of a plain two-matrix layer, or a gated one (Shazeer 2020): reglu, geglu, geglu_tanh, swiglu."
    hidden_dim: int | None = Field(default=None, gt=0)
    "Feed-forward width F. Default: 4 dim, or 8/3 dim rounded up to a multiple of 32 when gated."
    norm: Literal["layer", "rms"] = "rms"
    "Layer norm (Ba et al. 2016) or RMS norm (Zhang and Sennrich 2019)."
    norm_eps: float = Field(default=1e-5, gt=0)
    "Added to the variance."
    norm_place: Literal["pre", "post", "sandwich"] = "pre"
    "Before each branch (Xiong et al. 2020), after each addition (Vaswani et al. 2017), or before and after branches."
    mixer_norm: bool = True
    "Whether the mixer's branch has its norm (ModernBERT's first block has none)."
    norm_bias: bool | None = None
    "Biases of layer norms. Default: `bias`."
    positions: AnyPositions = RotaryPositions()
    "Where tokens stand. A block may override what acts inside its mixer: rotary, or none."
    bias: bool = False
    "Biases in linear layers and layer norms."
    layer_scale: float | None = Field(default=None, gt=0)
    "Initial value of a learned factor for every channel of a branch (Touvron et al. 2021b)."
    dropout: float = Field(default=0.0, ge=0, lt=1)
    "Dropout after the embedding and on every residual branch."
    parallel: bool = False
    "Whether mixer and feed-forward read the same stream, and are added together (Wang and Komatsuzaki 2021)."
    int8: bool = True
    "Whether the block joins the 8-bit data flow where `precision` is int8."

    @property
    def hidden_width(self) -> int:
        """F."""
        if self.hidden_dim:
            return self.hidden_dim
        return -(-8 * self.dim // (3 * 32)) * 32 if self.feed_forward in GATED else 4 * self.dim

    @property
    def norm_has_bias(self) -> bool:
        """Of layer norms."""
        return self.bias if self.norm_bias is None else self.norm_bias


class LayerGroup(Options):
    """Some neighbouring blocks of the plan. Keys given replace the model's; mappings are merged into the model's."""

    repeat: int = Field(default=1, gt=0)
    "Blocks in the group, each with weights of its own."
    times: int = Field(default=1, ge=0)
    "How often the group is run through, with the same weights: a loop; 0 skips it."
    mixer: dict[str, Any] | None = None
    "Keys of `mixer`; with a `kind` of its own, a mixer of its own."
    positions: dict[str, Any] | None = None
    "Keys of `positions`."
    cross: bool | None = None
    "As the model's."
    feed_forward: FeedForwardKind | None = None
    "As the model's."
    hidden_dim: int | None = Field(default=None, gt=0)
    "As the model's."
    norm_place: Literal["pre", "post", "sandwich"] | None = None
    "As the model's."
    mixer_norm: bool | None = None
    "As the model's."
    parallel: bool | None = None
    "As the model's."
    int8: bool | None = None
    "As the model's."

    def applied_to(self, block: dict[str, Any]) -> dict[str, Any]:
        """The keys of a block of this group."""
        changes = self.model_dump(exclude={"repeat", "times"}, exclude_unset=True)
        merged = block | {key: value for key, value in changes.items() if value is not None}
        for key in ("mixer", "positions"):
            ours, base = changes.get(key), block[key]
            if ours is not None and ours.get("kind", base["kind"]) == base["kind"]:
                merged[key] = base | ours
        return merged


class TransformerOptions(BlockOptions, Part):
    """Embedder -> blocks -> final norm."""

    kind: Literal["transformer"] = "transformer"
    embedder: AnyEmbedder
    "Fields of a batch -> tokens."
    num_layers: int = Field(gt=0)
    "Blocks with weights of their own."
    plan: list[LayerGroup] = Field(default_factory=list)
    "What the blocks are, group after group, again from the start until there are `num_layers`. Default: all alike."
    visibility: Literal["causal", "bidirectional", "prefix", "context"] = "causal"
    "Who sees whom: what came before; everyone; the prefix and what came before; the context and oneself."
    documents: Literal["separate", "joined"] = "separate"
    "Whether a token sees only its own document of a packed row, or those beside it too."
    embedding_dim: int | None = Field(default=None, gt=0)
    "Width of the embedder where it is not dim: a projection follows it (Lan et al. 2020)."
    embedding_norm: bool = False
    "A norm after the embedder and its positions."
    final_norm: bool | None = None
    "A norm after the last block. Default: unless norm_place is post."
    backend: Literal["auto", "flash", "flex", "gather", "sdpa", "reference"] = "auto"
    "What computes attention. auto: the fastest that can; a named one that cannot is an error."
    init: InitOptions = InitOptions()
    "Initial weights."

    builds: ClassVar[str] = "model.transformer:Transformer"

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        for block in self.blocks:
            require = getattr(block.mixer, "require", None)
            if require is not None:
                require(self.dim)
        kind = self.positions.kind
        if kind == "learned" and self.embedder.num_positions is None:
            raise ValueError("positions: learned needs the number of places; set embedder.max_length")
        if (kind == "grid_bias" and self.embedder.grid is None) or (
            kind in ("alibi", "relative") and self.embedder.grid
        ):
            raise ValueError(f"positions: {kind} does not go with model.embedder {self.embedder.kind}; choose another")
        if kind == "convolutional" and self.visibility != "bidirectional":
            raise ValueError(f"positions: convolutional ones see what comes later; visibility is {self.visibility}")
        axes = len(self.embedder.grid or (0,))
        for block in self.blocks:
            width = getattr(block.mixer, "head_width", None)
            if block.positions.kind == "rotary" and width is not None and width(self.dim) % (2 * axes):
                raise ValueError(
                    f"rotary positions need a head width that is a multiple of {2 * axes}, found {width(self.dim)}"
                )
            if block.cross and block.mixer.kind != "attention":
                raise ValueError(f"cross: attends with the heads of an attention mixer, found mixer {block.mixer.kind}")
            if block.positions.kind not in ("rotary", "none", kind):
                raise ValueError(f"plan: positions of a block are rotary or none, found {block.positions.kind}")
        return self

    @cached_property
    def blocks(self) -> tuple[BlockOptions, ...]:
        """The blocks, each with its own weights."""
        return tuple(block for group, block in self._laid_out())

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Which block is applied when: loops repeat numbers, skipped blocks are missing."""
        order: list[int] = []
        place = 0
        groups = self._groups()
        for group, size in groups:
            order += list(range(place, place + size)) * group.times
            place += size
        return tuple(order)

    def _groups(self) -> list[tuple[LayerGroup, int]]:
        """The groups of the plan and how many blocks each has: the last may be cut short."""
        plan = self.plan or [LayerGroup(repeat=self.num_layers)]
        found: list[tuple[LayerGroup, int]] = []
        left = self.num_layers
        while left:
            for group in plan:
                size = min(group.repeat, left)
                left -= size
                if size:
                    found.append((group, size))
        return found

    def _laid_out(self) -> list[tuple[LayerGroup, BlockOptions]]:
        base = {name: getattr(self, name) for name in BlockOptions.model_fields}
        base |= {"mixer": self.mixer.tree(), "positions": self.positions.tree()}
        found = []
        for number, (group, size) in enumerate(self._groups()):
            try:
                block = BlockOptions.model_validate(group.applied_to(base))
            except ValidationError as error:
                line = error.errors()[0]
                where = ".".join(str(part) for part in line["loc"])
                raise ValueError(f"plan[{number % max(1, len(self.plan))}].{where}: {line['msg']}") from None
            found += [(group, block)] * size
        return found

    @property
    def is_causal(self) -> bool:
        """Whether a token never sees a later one, so that tokens can be written one by one."""
        return self.visibility == "causal"

    @property
    def width_multiplier(self) -> float:
        """How many times wider than `init.base_dim`."""
        return self.dim / (self.init.base_dim or self.dim)

    @property
    def has_final_norm(self) -> bool:
        """Whether a norm follows the last block."""
        return self.norm_place != "post" if self.final_norm is None else self.final_norm

    @property
    def embedders(self) -> dict[str, AnyEmbedder]:
        """What takes fields of a batch, by its key."""
        return {"embedder": self.embedder}

    @property
    def width_of_embedder(self) -> int:
        """Width of what the embedder gives."""
        return self.embedding_dim or self.dim


class EncoderDecoderOptions(Part):
    """An encoder, and a decoder that attends to what it gives (Vaswani et al. 2017)."""

    kind: Literal["encoder_decoder"] = "encoder_decoder"
    encoder: TransformerOptions
    "What reads the source; its `visibility` is bidirectional, as a rule."
    decoder: TransformerOptions
    "What writes the target; all its blocks have `cross: true`."
    shared_embedding: bool = False
    "Whether both sides have one table of token vectors."

    builds: ClassVar[str] = "model.encoder_decoder:EncoderDecoder"

    @model_validator(mode="after")
    def _check_sides(self) -> Self:
        if not all(block.cross for block in self.decoder.blocks):
            raise ValueError("decoder: its blocks attend to the encoder; set decoder.cross: true")
        if any(block.cross for block in self.encoder.blocks):
            raise ValueError("encoder: has nothing to attend to but itself; set encoder.cross: false")
        if self.encoder.dim != self.decoder.dim:
            raise ValueError(f"encoder.dim {self.encoder.dim} and decoder.dim {self.decoder.dim} differ")
        if self.shared_embedding:
            tables = [_table_of(side) for side in (self.encoder, self.decoder)]
            if None in tables or tables[0] != tables[1]:
                raise ValueError("shared_embedding: both embedders must be text, of the same vocab_size and width")
        return self

    @property
    def embedders(self) -> dict[str, AnyEmbedder]:
        """By key, the encoder's first."""
        return {"encoder.embedder": self.encoder.embedder, "decoder.embedder": self.decoder.embedder}

    @property
    def embedder(self) -> AnyEmbedder:
        """The decoder's: what is predicted."""
        return self.decoder.embedder

    @property
    def dim(self) -> int:
        """The width of what is predicted from."""
        return self.decoder.dim


def _table_of(model: TransformerOptions) -> tuple[int, int] | None:
    """Size of the table of token vectors, where there is one."""
    embedder = model.embedder
    return (embedder.vocab_size, model.width_of_embedder) if isinstance(embedder, TextOptions) else None


class TwoTowerOptions(Part):
    """Images and texts in one space (Radford et al. 2021, CLIP)."""

    kind: Literal["two_tower"] = "two_tower"
    image: TransformerOptions
    "The encoder of images; its first token stands for the image."
    text: TransformerOptions
    "The encoder of texts; the token at the end stands for the text."
    width: int = Field(default=512, gt=0)
    "Width E of the space in which both are compared."
    logit_scale: float = 2.6592
    "Initial value of the logarithm of what multiplies cosines: ln(1 / 0.07)."
    end_token: int | None = Field(default=None, ge=0)
    "Id whose first place is the end of a text; null: the place of its largest id."

    builds: ClassVar[str] = "model.two_tower:TwoTower"

    @property
    def embedders(self) -> dict[str, AnyEmbedder]:
        """By key, the texts' first: what has a length."""
        return {"text.embedder": self.text.embedder, "image.embedder": self.image.embedder}

    @property
    def embedder(self) -> AnyEmbedder:
        """The texts'."""
        return self.text.embedder


def transformers_of(model: Part) -> list[TransformerOptions]:
    """The transformers that a model is made of."""
    parts = [getattr(model, name) for name in type(model).model_fields]
    return [part for part in (model, *parts) if isinstance(part, TransformerOptions)]


AnyModel = Annotated[TransformerOptions | EncoderDecoderOptions | TwoTowerOptions, Kind(default="transformer")]


class LMHeadOptions(Part):
    """Hidden states -> logits of every entry of the vocabulary."""

    kind: Literal["lm"] = "lm"
    tied: bool = True
    "Whether the output matrix is the token embedding (Press and Wolf 2017)."
    bias: bool = False
    "Whether every entry has a bias."
    transform: FeedForwardKind | None = None
    "A matrix, this activation and a layer norm before the output matrix (Devlin et al. 2019); default none."
    transform_bias: bool = True
    "Biases of that matrix and norm."
    transform_norm: bool = True
    "Whether there is that norm."
    transform_norm_bias: bool | None = None
    "Bias of that norm. Default: `transform_bias`."
    norm_eps: float = Field(default=1e-12, gt=0)
    "Of that norm."
    width: int | None = Field(default=None, gt=0)
    "Width after that matrix. Default: the model's."
    scale: float = 1.0
    "Factor of the hidden states before the output matrix."


class PoolerOptions(Part):
    """Hidden states -> one vector for every row."""

    kind: Literal["pooler"] = "pooler"
    pool: Literal["first", "mean"] = "first"
    "The first token, or the mean of the tokens behind the prefix."
    norm: bool = False
    "A layer norm of it."
    norm_eps: float = Field(default=1e-12, gt=0)
    "Of that norm."
    activation: Literal["tanh", "relu", "gelu"] | None = "tanh"
    "A matrix with bias, and this activation; null: no matrix."
    width: int | None = Field(default=None, gt=0)
    "Width after that matrix. Default: the model's."


class PixelDecoderOptions(Part):
    """Hidden states of the patches that were seen -> pixels of all patches (He et al. 2022, section 3).

    A transformer of its own; what is not given is as in the model.
    """

    kind: Literal["pixel_decoder"] = "pixel_decoder"
    dim: int = Field(default=512, gt=0)
    "Width."
    num_layers: int = Field(default=8, gt=0)
    "Blocks."
    mixer: AnyMixer = AttentionOptions(num_heads=16)
    "How tokens exchange information."
    hidden_dim: int | None = Field(default=None, gt=0)
    "Feed-forward width. Default: 4 dim."

    def transformer(self, model: TransformerOptions) -> TransformerOptions:
        """The decoder's transformer."""
        changes: dict[str, Any] = {
            "embedder": {"kind": "vectors"},
            "positions": {"kind": "sinusoidal", "last_axis_first": True},
            "dim": self.dim,
            "num_layers": self.num_layers,
            "mixer": self.mixer.tree(),
            "hidden_dim": self.hidden_dim or 4 * self.dim,
            "plan": [],
            "embedding_dim": None,
        }
        return type(model).model_validate(model.tree() | changes)


class ContrastiveHeadOptions(Part):
    """Hidden states, and codes of what they are to predict, in one space (Baevski et al. 2020, section 2)."""

    kind: Literal["contrastive"] = "contrastive"
    num_codebooks: int = Field(default=2, gt=0)
    "Codebooks G: a feature is quantised to one entry of each."
    num_entries: int = Field(default=320, gt=1)
    "Entries V of each."
    code_dim: int = Field(default=256, gt=0)
    "Width of the entries of all codebooks, side by side."
    dim: int = Field(default=256, gt=0)
    "Width P of the space in which they are compared."

    builds: ClassVar[str] = "model.codebooks:ContrastiveHead"

    @model_validator(mode="after")
    def _check_widths(self) -> Self:
        if self.code_dim % self.num_codebooks:
            raise ValueError(f"code_dim {self.code_dim} is not a multiple of num_codebooks {self.num_codebooks}")
        return self


class ReplacedTokenOptions(Part):
    """Hidden states -> a logit for every token: that it was replaced (Clark et al. 2020, section 2)."""

    kind: Literal["replaced_token"] = "replaced_token"
    transform: FeedForwardKind = "gelu"
    "The activation between its two matrices."


class SentencePairOptions(Part):
    """Hidden states -> masked tokens, and whether the second sentence follows the first (Devlin et al. 2019, 3.1)."""

    kind: Literal["sentence_pair"] = "sentence_pair"
    tokens: LMHeadOptions = LMHeadOptions()
    "The head of masked tokens."


AnyHead = Annotated[
    LMHeadOptions
    | PoolerOptions
    | PixelDecoderOptions
    | ContrastiveHeadOptions
    | ReplacedTokenOptions
    | SentencePairOptions,
    Kind(default="lm"),
]
