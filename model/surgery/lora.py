"""Low-rank adapters (Hu et al. 2022): y = W x + b + alpha / rank * B A x.

An adapted layer keeps the names of the layer it replaces, `weight` and `bias`, so that files and checkpoints of the
plain model fit it; A and B are `lora.down.weight` [rank, in] and `lora.up.weight` [out, rank].
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from configs.errors import ConfigError
from model.selectors import select
from model.surgery.edit import Edit, OpenWeights
from model.surgery.options import LoRAOptions


class LoRA(Edit):
    """Selected linear layers are frozen and get adapters."""

    def __init__(self, options: LoRAOptions, where: str, open_weights: OpenWeights) -> None:
        super().__init__(where)
        self._options = options

    def apply(self, module: nn.Module) -> None:
        # Exactly this class: the factors of adapters are linear layers too.
        layers = {name: layer for name, layer in module.named_modules() if type(layer) is nn.Linear}
        others = {
            name: type(layer).__name__
            for name, layer in module.named_modules()
            if isinstance(layer, nn.Linear | nn.Embedding | AdaptedLinear) and name not in layers
        }
        for pattern in self._options.select:
            self._require_linear(pattern, layers, others)
        self.selected = select(self._options.select, layers, f"{self.where}.select")
        for name in self.selected:
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, AdaptedLinear(layers[name], self._options))

    def _require_linear(self, pattern: str, layers: Collection[str], others: Mapping[str, str]) -> None:
        """Refuse what selects only modules that are no plain linear layers."""
        found = [] if pattern.startswith("!") else select([pattern], [*layers, *others], f"{self.where}.select")
        if found and not any(name in layers for name in found):
            raise ConfigError(
                f"{self.where}.select: '{pattern}' selects {found[0]}, which is {others[found[0]]}. Adapters are for "
                "plain linear layers, and for each once: not for output matrices (whose losses are computed without "
                "logits) or tables of tokens. To train one of those whole, leave it unfrozen."
            )


class AdaptedLinear(nn.Module):
    """A frozen linear layer [..., in] -> [..., out] and a trained change of it."""

    def __init__(self, base: nn.Linear, options: LoRAOptions) -> None:
        super().__init__()
        self.weight = base.weight.requires_grad_(False)
        self.bias = None if base.bias is None else base.bias.requires_grad_(False)
        self.lora = LowRank(base, options)
        self._base: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The layer, changed."""
        y = linear(x, self.weight, self.bias)
        return y if self.is_merged else y + self.lora(x)

    @property
    def is_merged(self) -> bool:
        """Whether `weight` holds the change."""
        return self._base is not None

    @torch.no_grad()
    def merge(self) -> None:
        """Add the change to the weight, which is then one matrix; the weight as it was is kept."""
        if self._base is None:
            self._base = self.weight.detach().clone()
            self.weight.copy_(self.lora.added_to(self.weight, self.lora.down.weight, self.lora.up.weight))

    @torch.no_grad()
    def unmerge(self) -> None:
        """Bring the weight back, to the bit."""
        if self._base is not None:
            self.weight.copy_(self._base)
            self._base = None


class LowRank(nn.Module):
    """alpha / rank * B A x: [..., in] -> [..., out]."""

    def __init__(self, base: nn.Linear, options: LoRAOptions) -> None:
        super().__init__()
        self._scale = options.alpha / options.rank
        place = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.dropout = nn.Dropout(options.dropout)
        self.down = _Down(base.in_features, options.rank, bias=False, **place)
        self.up = _Up(options.rank, base.out_features, bias=False, **place)

    def forward(self, x: Tensor) -> Tensor:
        """The change of the layer's output."""
        return self._scale * self.up(self.down(self.dropout(x)))  # type: ignore[no-any-return]

    def added_to(self, weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """The matrix of a layer with a change by these factors."""
        return weight + self._scale * (up @ down)


class _Down(nn.Linear):
    """A."""

    def initial_value(self, _leaf: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Uniform within 1 / sqrt(in), as the authors' code (the paper, section 4.1, says random)."""
        bound = 1 / math.sqrt(shape[1])
        return torch.empty(*shape).uniform_(-bound, bound, generator=generator)


class _Up(nn.Linear):
    """B."""

    def initial_value(self, _leaf: str, shape: tuple[int, ...], _generator: torch.Generator) -> Tensor:
        """Zero: training starts from the layer as it was."""
        return torch.zeros(*shape)


def adapted(module: nn.Module) -> Iterator[tuple[str, AdaptedLinear]]:
    """The adapted layers of a module, by name."""
    for name, layer in module.named_modules():
        if isinstance(layer, AdaptedLinear):
            yield name, layer


def merge(module: nn.Module) -> None:
    """Make every adapted layer one matrix, for inference: adapters cost nothing then, and get no gradient."""
    for _, layer in adapted(module):
        layer.merge()


def unmerge(module: nn.Module) -> None:
    """Undo `merge`, to the bit."""
    for _, layer in adapted(module):
        layer.unmerge()


def merged_weights(weights: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Weights of the plain model that computes what these do.

    Args:
        weights: of `module`, all of them.
        module: with adapted layers or without; on any device, its own values are not looked at.
    """
    plain = dict(weights)
    for name, layer in adapted(module):
        down, up = plain.pop(f"{name}.lora.down.weight"), plain.pop(f"{name}.lora.up.weight")
        plain[f"{name}.weight"] = layer.lora.added_to(plain[f"{name}.weight"], down, up)
    return plain
