"""Ours beside transformers' class of the same family: the same outputs and gradients, both ways.

A case builds a tiny random model of theirs; `pair_of` imports its weights into ours, as `polytrain import`
does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.interop.described import DescribedModel
from model.interop.families import exported, family, imported
from model.interop.family import Family

TOLERANCE = 1e-5
NOISE = 0.1 * TOLERANCE
"""A gradient is compared with its own largest value where its noise is at most this share of it. The noise is measured:
what computing in float32 instead of float64 changes in transformers' own gradient. A key's bias, which moves no
softmax, has a gradient of nothing else."""


@dataclass(frozen=True)
class Figures:
    """Largest distances of one comparison, each relative (max norm)."""

    family: str
    output64: float
    gradient64: float
    output32: float
    gradient32: float
    "Of gradients in float32, to the largest gradient of the model."
    own32: float
    "Of gradients in float32, each to its own largest value; but for the noisy ones."
    num_noisy: int
    "Gradients whose noise in float32 is more than `NOISE`."
    num_gradients: int

    @property
    def worst(self) -> float:
        """Of all."""
        return max(self.output64, self.gradient64, self.output32, self.gradient32, self.own32)


FIGURES: list[Figures] = []
"Of all comparisons so far: `benchmarks/parity.py` makes a table of them."


@dataclass(frozen=True)
class Compared:
    """Of one pair in one precision."""

    output: float
    "Distance of the outputs."
    ours: dict[str, Tensor]
    "Gradients by their names."
    theirs: dict[str, Tensor]


@dataclass(frozen=True)
class Pair:
    """One model twice, in evaluation mode."""

    ours: DescribedModel
    theirs: nn.Module
    family: Family[Any]
    architecture: str

    @property
    def dtype(self) -> torch.dtype:
        """The precision it computes in."""
        return next(self.ours.parameters()).dtype

    def in_float32(self) -> Pair:
        """The same two models in float32; their weights are float32 numbers, so these are the same."""
        return replace(self, ours=deepcopy(self.ours).float(), theirs=deepcopy(self.theirs).float())

    def require_same(self, outputs: Outputs) -> None:
        """Outputs, and all gradients of a random projection of them, agree to 1e-5 (max norm), in float64 and float32.

        Args:
            outputs: what is compared, of this pair or of `in_float32`: (ours, theirs).
        """
        assert self.dtype == torch.float64
        exact, single = self._compared(outputs), self.in_float32()._compared(outputs)
        # Below half a unit in the last place of the largest gradient in float32, there is nothing to tell apart.
        floor = 2.0**-24 * max(map(largest, exact.theirs.values()))
        own = {
            name: relative_distance(single.ours[name], item)
            for name, item in single.theirs.items()
            if largest(item - exact.theirs[name]) <= NOISE * largest(exact.theirs[name])
        }
        figures = Figures(
            family=self.family.name,
            output64=exact.output,
            gradient64=max(relative_distance(exact.ours[name], item, floor) for name, item in exact.theirs.items()),
            output32=single.output,
            gradient32=max(largest(single.ours[name] - item) for name, item in single.theirs.items())
            / max(map(largest, single.theirs.values())),
            own32=max(own.values()),
            num_noisy=len(exact.theirs) - len(own),
            num_gradients=len(exact.theirs),
        )
        missed = {name: distance for name, distance in own.items() if distance >= TOLERANCE}
        assert figures.worst < TOLERANCE, (figures, missed)
        FIGURES.append(figures)

    def _compared(self, outputs: Outputs) -> Compared:
        ours, theirs = outputs(self)
        assert ours.shape == theirs.shape
        upstream = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).to(ours.dtype)
        mine = gradients(self.ours, (ours * upstream).sum())
        expected = as_stored(self.theirs, gradients(self.theirs, (theirs * upstream).sum()))
        # Renaming, stacking and transposing are linear, so they carry gradients as well as weights.
        renamed = exported(mine, self.family, self.architecture)
        used = {name for name, gradient in expected.items() if gradient.abs().max() > 0}
        assert used <= renamed.keys(), used - renamed.keys()
        names = renamed.keys() & expected.keys()
        return Compared(
            relative_distance(ours, theirs),
            {name: renamed[name] for name in names},
            {name: expected[name] for name in names},
        )

    def require_round_trip(self, folder: Path) -> None:
        """Exported weights and configuration load as the same model, nothing missing and nothing left over."""
        import json

        import transformers
        from huggingface_hub import save_torch_state_dict

        config = self.family.config(self.ours.description)
        (architecture,) = config["architectures"]
        (folder / "config.json").write_text(json.dumps(config))
        weights = {name: item.detach().float() for name, item in self.ours.named_parameters()}
        tensors = exported(weights, self.family, architecture) | self.family.computed(self.ours.description)
        save_torch_state_dict(tensors, folder)
        again, report = getattr(transformers, architecture).from_pretrained(
            folder, output_loading_info=True, dtype=torch.float32, attn_implementation="eager"
        )
        assert not any(report.values()), report
        found = dict(again.named_parameters())
        for name, item in self.theirs.named_parameters():
            assert torch.equal(found[name], item.float()), name
        assert self.family.describe(json.loads((folder / "config.json").read_text()), architecture) == (
            self.ours.description
        )


def pair_of(theirs: nn.Module, *, seed: int = 0) -> Pair:
    """`theirs` with random weights (float32 numbers), and ours with the same, in float64."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in theirs.parameters():
            # Far from the initial scheme: every bias and norm weight has to matter.
            if parameter.requires_grad:
                parameter.normal_(0.05, 0.2, generator=generator)
    architecture = type(theirs).__name__
    found = family(theirs.config.model_type)
    ours = DescribedModel(found.describe(theirs.config.to_dict(), architecture))
    shapes = {name: tuple(item.shape) for name, item in ours.named_parameters()}
    stored = as_stored(theirs, {name: item.detach() for name, item in theirs.named_parameters()})
    read = imported(stored, found, architecture, shapes)
    assert not read.missing, read.missing
    assert not read.unexpected, read.unexpected
    ours.load_state_dict(read.weights, strict=True)
    return Pair(ours.double().eval(), theirs.double().eval(), found, architecture)


def largest(item: Tensor) -> float:
    """Magnitude."""
    return float(item.detach().abs().max())


def gradients(module: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    """Of every trained parameter; zero where the loss does not depend on it."""
    trained = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    names, parameters = zip(*trained, strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for name, parameter, gradient in zip(names, parameters, found, strict=True)
    }


def as_stored(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by parameter name -> by the names that files have, which transformers renames when it reads them."""
    from transformers.core_model_loading import revert_weight_conversion

    # Of weights that are tied, files hold the source, and a module first lists whichever it has first.
    tied: Mapping[str, str] = getattr(module, "all_tied_weights_keys", {})
    reverted = revert_weight_conversion(
        module, {tied[name] if tied.get(name, name) not in tensors else name: item for name, item in tensors.items()}
    )
    # Taking names back, transformers 5.23 mistakes the decoder's blocks of MAE for the encoder's.
    return {name.replace("decoder_encoder.layer.", "decoder_layers."): item for name, item in reverted.items()}


def relative_distance(ours: Tensor, theirs: Tensor, floor: float = 0.0) -> float:
    """Largest difference over largest value, or over `floor` where that is larger."""
    largest = theirs.detach().abs().max().clamp(min=floor)
    return float((ours - theirs).detach().abs().max() / largest) if largest > 0 else float(ours.detach().abs().max())


def ragged(lengths: list[int], length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded rows: (keep: bool [B, T], attention_mask: int64, our segments: int64, -1 for padding)."""
    keep = torch.arange(length) < torch.tensor(lengths)[:, None]
    return keep, keep.long(), keep.long() - 1


def tokens_of(shape: tuple[int, int], vocab_size: int, *, low: int = 3, seed: int = 0) -> Tensor:
    """Random token ids, special ones left out."""
    return torch.randint(low, vocab_size, shape, generator=torch.Generator().manual_seed(seed))


Outputs = Callable[[Pair], tuple[Tensor, Tensor]]
"What a pair computes: (ours, theirs); float inputs are in its precision."
