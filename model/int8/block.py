"""A block as one flow of 8-bit matrices (Xi et al. 2024, section 6).

    to_int8(model, Int8Options())     its blocks compute in 8 bits from now on; parameters and names stay the same

Between operators there are integers and scales. In high precision remain the stream, attention itself between queries,
keys and values and what its heads give, and the gradients of all parameters. Rounded weights are kept from one
optimizer step to the next: whoever changes weights says so (`forget_rounded`).

Modules change their class, not their parameters: hooks on modules and parameters (ZeRO-3, DDP, taps) work as ever, and
checkpoints are those of any other precision. Given plain tensors, as in decoding step by step, they are what they were.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from configs.errors import ConfigError
from model.block import Block, Branch
from model.feed_forward import FeedForward, GatedFeedForward
from model.int8.arithmetic import Curve, Moments, arithmetic_of, require_kernels
from model.int8.operators import activation, boundary, dropout, linear, norm, residual
from model.int8.operators.wire import Again, Wire, draw_noise
from model.int8.options import CURVES, Int8Options
from model.int8.quant_tensor import PER_CHANNEL, PER_TENSOR, PER_TOKEN, SQUARE, Format, QuantTensor
from model.mixers.attention import Attention
from model.mixers.mixer import MixerContext
from model.transformer import Transformer

_TILES = {"square": SQUARE.tile, "token": PER_TOKEN.tile, "channel": PER_CHANNEL.tile, "tensor": PER_TENSOR.tile}


def to_int8(model: nn.Module, options: Int8Options) -> None:
    """Have the blocks of all transformers in `model` compute in 8 bits, but those with `int8: false`.

    Raises:
        ConfigError: when a block holds modules that have no 8-bit form, such as adapters.
    """
    held = Format(_TILES[options.tile], options.bits, options.kernels)
    if options.kernels == "triton":
        require_kernels(held)
    for transformer in [module for module in model.modules() if isinstance(module, Transformer)]:
        for number, block in enumerate(transformer.blocks):
            if cast(Block, block).options.int8:
                _convert(cast(Block, block), held, f"block {number}")


def forget_rounded(model: nn.Module) -> None:
    """Weights have changed: round them again."""
    for module in model.modules():
        if isinstance(module, Int8Linear):
            module.rounded = None


def round_weights(model: nn.Module) -> list[QuantTensor]:
    """Round now what would be at its first use, and give all copies: what a rank keeps beside its parameters."""
    return [module.rounded_weight() for module in model.modules() if isinstance(module, Int8Linear)]


class Int8Linear(nn.Linear):
    """X W^T + b."""

    held: Format
    rounded: QuantTensor | None
    "The weight, until it changes."

    def rounded_weight(self) -> QuantTensor:
        """The weight in 8 bits, rounded once until it changes."""
        if self.rounded is None:
            self.rounded = arithmetic_of(self.held, self.weight.device).quantise(self.weight)
        return self.rounded

    def forward(self, x: Wire | Tensor, again: Again | None = None) -> Any:
        """`again` gives x once more, so that it need not be kept."""
        if isinstance(x, Tensor):
            return super().forward(x)
        return linear.linear(x, self.weight, self.rounded_weight(), self.bias, self.held, draw_noise(), again)


class Int8LayerNorm(nn.LayerNorm):
    """Layer norm, given the statistics of its input."""

    held: Format

    def forward(self, x: Wire | Tensor, of: Moments | None = None) -> Any:
        """Of rows whose moments are known."""
        if of is None:
            return super().forward(cast(Tensor, x))
        return norm.layer_norm(cast(Wire, x), of, self.weight, self.bias, self.eps, self.held, draw_noise())


class Int8RMSNorm(nn.RMSNorm):
    """RMS norm, given the statistics of its input."""

    held: Format

    def forward(self, x: Wire | Tensor, of: Moments | None = None) -> Any:
        """Of rows whose moments are known."""
        if of is None:
            return super().forward(cast(Tensor, x))
        return norm.rms_norm(cast(Wire, x), of, self.weight, cast(float, self.eps), self.held, draw_noise())


class Int8Attention(Attention):
    """Attention in high precision between 8-bit projections."""

    held: Format

    def forward(
        self, x: Wire | Tensor, context: MixerContext, memory_BSD: Tensor | None = None, *, num_rows: int = 0
    ) -> Any:
        """[B * T, D] as a wire, of B = `num_rows` rows."""
        if isinstance(x, Tensor):
            return super().forward(x, context, memory_BSD)
        wires = boundary.fork(x, self.held, draw_noise(), 3)
        dtype = context.visible.request.dtype
        q_BTE, k_BSE, v_BSE = (
            boundary.dequantise(layer(wire), self.held, draw_noise(), dtype).view(num_rows, -1, layer.out_features)
            for layer, wire in zip((self.query, self.key, self.value), wires, strict=True)
        )
        mixed_BTE = self.attend(q_BTE, k_BSE, v_BSE, context)
        return self.output(boundary.quantise(mixed_BTE.flatten(0, 1), self.held))


class Int8FeedForward(FeedForward):
    """down(activation(up(x)))."""

    held: Format
    curve: Curve

    def forward(self, x: Wire | Tensor) -> Any:
        """[N, D] as a wire."""
        if isinstance(x, Tensor):
            return super().forward(x)
        hidden = self.up(x)
        active = activation.activate(hidden, self.curve, self.held, draw_noise())
        return self.down(active, activation.again(hidden, self.curve, self.held))


class Int8GatedFeedForward(GatedFeedForward):
    """down(activation(gate(x)) * up(x))."""

    held: Format
    curve: Curve

    def forward(self, x: Wire | Tensor) -> Any:
        """[N, D] as a wire."""
        if isinstance(x, Tensor):
            return super().forward(x)
        to_gate, to_up = boundary.fork(x, self.held, draw_noise(), 2)
        gate, up = self.gate(to_gate), self.up(to_up)
        active = activation.activate_gated(gate, up, self.curve, self.held, draw_noise())
        return self.down(active, activation.again_gated(gate, up, self.curve, self.held))


class Int8Block(Block):
    """Norm, attention, addition, norm, feed-forward, addition: [B, T, D] -> [B, T, D]."""

    held: Format

    def forward(
        self,
        x_BTD: Tensor,
        context: MixerContext,
        memory_BSD: Tensor | None = None,
        memory_context: MixerContext | None = None,
    ) -> Tensor:
        """Both branches, over whole rows."""
        num_rows, stream_ND = x_BTD.shape[0], x_BTD.flatten(0, 1)
        held = self.held
        entering = boundary.quantise(stream_ND, held)
        normed = self.mixer_branch.norm(entering, boundary.moments(entering, held))
        change = _dropped(self.mixer_branch, self.mixer(normed, context, num_rows=num_rows), held)
        stream_ND, entering, of = residual.add(stream_ND, change, held, draw_noise())
        change = self.feed_forward(self.feed_forward_branch.norm(entering, of))
        change = _dropped(self.feed_forward_branch, change, held)
        stream_ND = stream_ND + boundary.dequantise(change, held, draw_noise(), stream_ND.dtype)
        return stream_ND.view_as(x_BTD)


def _dropped(branch: Branch, change: Wire, held: Format) -> Wire:
    if not branch.training or branch.dropout.p == 0:
        return change
    return dropout.dropout(change, branch.dropout.p, held, draw_noise().seed)


_CLASSES: dict[type[nn.Module], type[nn.Module]] = {
    Block: Int8Block,
    Attention: Int8Attention,
    FeedForward: Int8FeedForward,
    GatedFeedForward: Int8GatedFeedForward,
    nn.Linear: Int8Linear,
    nn.LayerNorm: Int8LayerNorm,
    nn.RMSNorm: Int8RMSNorm,
}
_UNCHANGED = (Branch, nn.Identity, nn.Dropout)


def _convert(block: Block, held: Format, name: str) -> None:
    for path, module in block.named_modules():
        if type(module) in _CLASSES:
            module.__class__ = _CLASSES[type(module)]
            module.held = held
            if isinstance(module, Int8Linear):
                module.rounded = None
            if isinstance(module, Int8FeedForward | Int8GatedFeedForward):
                module.curve = cast(Curve, CURVES[block.options.feed_forward])
        elif not isinstance(module, _UNCHANGED):
            raise ConfigError(
                f"precision=int8: {name} has {type(module).__name__} as {path}, which has no 8-bit form; "
                "leave out what puts it there (surgery), or set int8: false for such blocks."
            )
