"""The transformer: fields of a batch -> hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from configs.options import construct
from model.backends.backend import Backend
from model.block import Block
from model.mixers.mixer import MixerContext, State, Visible, visible
from model.norm import build_norm
from model.options import TransformerOptions
from model.positions.options import (
    AlibiPositions,
    ConvolutionalPositions,
    GridBiasPositions,
    LearnedPositions,
    RelativePositions,
    RotaryPositions,
    SinusoidalPositions,
)
from model.positions.rotary import rotary_angles
from model.tokens import Tokens
from model.visibility import (
    Causal,
    ContextOnly,
    Everything,
    Leading,
    NotPadding,
    Places,
    Prefix,
    SameSegment,
    Visibility,
)

_RULES: dict[str, Visibility] = {
    "causal": Causal(),
    "bidirectional": Everything(),
    "prefix": Causal() | Prefix(),
    "context": ContextOnly(),
}


@dataclass(frozen=True)
class DecodingState:
    """What a transformer remembers of the tokens it has seen. Never changed in place, so it may be kept and shared."""

    layers: tuple[State, ...]
    "Of every application of a block."
    places: Places
    "Of the tokens seen: places within their documents, and segments."
    memory: tuple[State, ...] = ()
    "Keys and values of the memory, of every block with cross-attention."
    memory_places: Places | None = None


class Transformer(nn.Module):
    """Embedder -> blocks -> final norm. Heads belong to objectives."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        self.options = options
        self.backend: str | Backend = options.backend
        "What computes attention; one that is set here stands above the options."
        self.recompute_blocks = False
        "Activation checkpointing (Chen et al. 2016): keep only block inputs, recompute the rest backward."
        # Parts that only some have are None in the others.
        self.prompts: nn.Module | None = None
        "Puts soft prompts in front, where `model.surgery.prompts` gave it some."
        self.position_embedding: nn.Module | None = None
        self.score_bias: nn.Module | None = None
        self.grid_bias: nn.Module | None = None
        self.grid_biases: nn.ModuleList | None = None
        self.embedding_norm: nn.Module | None = None
        self.embedding_projection: nn.Module | None = None
        width, embedder = options.width_of_embedder, options.embedder
        self.embedder = cast(nn.Module, construct(embedder, width))
        positions = options.positions
        if isinstance(positions, LearnedPositions | SinusoidalPositions | ConvolutionalPositions):
            num_prefix = embedder.num_prefix_positions
            sizes = {"num_positions": embedder.num_positions, "num_prefix": num_prefix, "grid": embedder.grid}
            self.position_embedding = cast(nn.Module, construct(positions, width, **sizes))
        if isinstance(positions, AlibiPositions | RelativePositions):
            heads = options.mixer.num_heads
            bidirectional = options.visibility != "causal"
            self.score_bias = cast(nn.Module, construct(positions, heads, bidirectional=bidirectional))
        if isinstance(positions, GridBiasPositions):
            heads = options.mixer.num_heads
            tables = [cast(nn.Module, construct(positions, heads, grid=embedder.grid)) for _ in options.blocks]
            if positions.shared:
                self.grid_bias = tables[0]
            else:
                self.grid_biases = nn.ModuleList(tables)
        if options.embedding_norm:
            self.embedding_norm = build_norm(options, width)
        self.dropout = nn.Dropout(options.dropout)
        if options.embedding_dim is not None:
            self.embedding_projection = nn.Linear(width, options.dim)
        self.blocks = nn.ModuleList(Block(block, causal=options.is_causal) for block in options.blocks)
        self.norm = build_norm(options) if options.has_final_norm else nn.Identity()

    def forward(
        self, *fields: Any, memory: Tokens | None = None, keep_BK: Tensor | None = None, **more_fields: Any
    ) -> Tokens:
        """Hidden states, and where they stand.

        Args:
            fields: what the embedder takes.
            memory: the output of an encoder, for cross-attention.
            keep_BK: take only these tokens (behind the prefix), once positions are added (He et al. 2022, 3).
            more_fields: what the embedder takes by name.
        """
        tokens = self.embed(*fields, **more_fields)
        return self.transform(tokens if keep_BK is None else tokens.take(keep_BK), memory)

    def embed(self, *fields: Any, **more_fields: Any) -> Tokens:
        """What enters the first block."""
        tokens: Tokens = self.embedder(*fields, **more_fields)
        if self.options.documents == "joined" and tokens.segments is not None:
            # A causal row has its padding behind it, where nobody looks.
            joined = None if self.options.is_causal else (tokens.segments >= 0).long() - 1
            index_T = torch.arange(tokens.x.shape[1], device=tokens.x.device)
            tokens = replace(tokens, segments=joined, positions=index_T[None])
        x_BTD = tokens.x
        if self.position_embedding is not None:
            x_BTD = x_BTD + self.position_embedding(tokens)
        if self.embedding_norm is not None:
            x_BTD = self.embedding_norm(x_BTD)
        x_BTD = self.dropout(x_BTD)
        if self.embedding_projection is not None:
            x_BTD = self.embedding_projection(x_BTD)
        return tokens.with_x(x_BTD)

    def transform(self, tokens: Tokens, memory: Tokens | None = None) -> Tokens:
        """Blocks and final norm."""
        given, tokens = tokens, self._prompted(tokens)
        num_prompts = tokens.x.shape[1] - given.x.shape[1]
        places = tokens.places()
        contexts = self._contexts(tokens, places, places, num_prompts)
        memory_context = None
        if memory is not None:
            memory_context = self._memory_context(tokens.x, places, memory.places())
        x_BTD = tokens.x
        for number in self.options.order:
            block, inputs = self.blocks[number], (contexts[number], memory.x if memory else None, memory_context)
            if self.recompute_blocks and self.training:
                x_BTD = checkpoint(block, x_BTD, *inputs, use_reentrant=False)
            else:
                x_BTD = block(x_BTD, *inputs)
        return given.with_x(self.norm(x_BTD)[:, num_prompts:])

    def start(
        self, batch: int, device: torch.device, dtype: torch.dtype, memory: Tokens | None = None
    ) -> DecodingState:
        """The state before the first token.

        Raises:
            ValueError: where tokens see later ones, so that they cannot be taken one by one.
        """
        state = self._empty_state(batch, device, dtype, memory)
        if self.prompts is not None:
            nothing = torch.empty(batch, 0, dtype=torch.long, device=device)
            no_text = Tokens(torch.empty(batch, 0, self.options.dim, device=device, dtype=dtype), nothing)
            _, state = self.step(self._prompted(no_text), state)
        return state

    def _empty_state(
        self, batch: int, device: torch.device, dtype: torch.dtype, memory: Tokens | None = None
    ) -> DecodingState:
        """The state before the first token and before prompts."""
        if not self.options.is_causal:
            raise ValueError(f"a model with visibility: {self.options.visibility} cannot go token by token")
        layers = [self._block(number).mixer.empty_state(batch, device, dtype) for number in self.options.order]
        nothing = torch.empty(batch, 0, dtype=torch.long, device=device)
        places = Places(nothing, nothing)
        if memory is None:
            return DecodingState(tuple(layers), places)
        memory_places = memory.places()
        context = self._memory_context(memory.x, Places(nothing, None), memory_places)
        turns = map(self._block, self.options.order)
        recalled = tuple(block.cross.keys_values(memory.x, context) if block.options.cross else () for block in turns)
        return DecodingState(tuple(layers), places, recalled, memory_places)

    def step(self, tokens: Tokens, state: DecodingState) -> tuple[Tokens, DecodingState]:
        """Further tokens (`embed` makes them), after those of the state: hidden states, and the state after them.

        Positions are taken as places in one document per row; padding has a segment below 0.
        """
        batch, length = tokens.x.shape[:2]
        index_BT = tokens.positions.expand(batch, length)
        segment_BT = torch.zeros_like(index_BT) if tokens.segments is None else tokens.segments
        query = Places(index_BT, segment_BT)
        seen = state.places
        assert seen.segment is not None
        key = Places(torch.cat((seen.index, index_BT), 1), torch.cat((seen.segment, segment_BT), 1))
        contexts = self._contexts(replace(tokens, segments=segment_BT), query, key)
        memory_context = None
        if state.memory_places is not None:
            # Tokens without segments see the whole memory, whatever its documents are numbered.
            asking = replace(query, segment=tokens.segments)
            memory_context = self._memory_context(tokens.x, asking, state.memory_places)
        x_BTD, layers = tokens.x, []
        for turn, number in enumerate(self.options.order):
            memory = state.memory[turn] if state.memory else None
            x_BTD, after = self._block(number).step(x_BTD, contexts[number], state.layers[turn], memory, memory_context)
            layers.append(after)
        return tokens.with_x(self.norm(x_BTD)), replace(state, layers=tuple(layers), places=key)

    def _prompted(self, tokens: Tokens) -> Tokens:
        """Behind the soft prompts, where there are some (`model.surgery.prompts`)."""
        if self.prompts is None:
            return tokens
        if tokens.segments is None and not self.options.is_causal:
            # Prompts that saw the text would carry it from document to document, where a row has several.
            segments = torch.zeros(tokens.x.shape[:2], dtype=torch.long, device=tokens.x.device)
            tokens = replace(tokens, segments=segments)
        return tokens.behind(self.prompts(tokens.x))

    def _block(self, number: int) -> Block:
        return cast(Block, self.blocks[number])

    def _contexts(self, tokens: Tokens, query: Places, key: Places, num_prompts: int = 0) -> Sequence[MixerContext]:
        """What the mixer of each block is told; what blocks have in common is computed once."""
        base = _RULES[self.options.visibility]
        if tokens.segments is not None:
            # Prompts stand before every document of a row, and see only each other.
            base = base & (SameSegment() | Leading(num_prompts) if num_prompts else SameSegment())
        biases = self._biases(tokens, tokens.positions if query is key else key.index)
        rules: dict[Any, Visible] = {}
        turns: dict[Any, tuple[Tensor, Tensor]] = {}
        contexts = []
        for block, bias in zip(map(self._block, range(len(self.blocks))), biases, strict=True):
            mixer, positions = block.mixer, block.options.positions
            rule, asks = mixer.rule(base), mixer.asks() | {"has_bias": bias is not None}
            backend = self.backend if mixer.takes_backend else None
            asked = (rule, backend, mixer.axis, *asks.items())
            if asked not in rules:
                asking = mixer.places(query, tokens.grid)
                seen = asking if query is key else mixer.places(key, tokens.grid)
                rules[asked] = visible(backend, rule, asking, seen, tokens.x, **asks)
            angles = None
            if isinstance(positions, RotaryPositions) and mixer.head_width:
                kind = (mixer.head_width, positions.base, positions.scaling)
                if kind not in turns:
                    cos, sin = rotary_angles(tokens.positions, *kind)
                    turns[kind] = (cos.to(tokens.x.dtype), sin.to(tokens.x.dtype))
                angles = turns[kind]
            contexts.append(MixerContext(rules[asked], angles, bias, tokens.grid))
        return contexts

    def _biases(self, tokens: Tokens, key_positions: Tensor) -> list[Tensor | None]:
        """What each block adds to the scores."""
        found: list[Tensor | None] = [None]
        if self.score_bias is not None:
            found = [self.score_bias(tokens.positions, key_positions)]
        if self.grid_bias is not None:
            found = [self.grid_bias(tokens)]
        if self.grid_biases is not None:
            found = [bias(tokens) for bias in self.grid_biases]
        return found * (len(self.blocks) // len(found))

    def _memory_context(self, x: Tensor, query: Places, memory: Places) -> MixerContext:
        rule: Visibility = Everything()
        if memory.segment is not None:
            rule = NotPadding() if query.segment is None else SameSegment()
        crosses = [block.cross for block in map(self._block, range(len(self.blocks))) if block.options.cross]
        # One backend for all: whatever any of them asks for.
        asks = {key: value for cross in crosses for key, value in cross.asks().items() if value}
        return MixerContext(visible(self.backend, rule, query, memory, x, **asks))
