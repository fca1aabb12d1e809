"""Ours beside transformers' class of the same family: the same outputs and gradients, both ways.

A case builds a tiny random model of theirs; `pair_of` imports its weights into ours, as `polytrain import`
does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.interop.described import DescribedModel
from model.interop.families import exported, family, imported
from model.interop.family import Family

TOLERANCE = 1e-5
_VANISHING = 1e-6
"Gradients this small beside the largest of the model are zero but for rounding: a key's bias moves no softmax."


@dataclass(frozen=True)
class Pair:
    """One model twice, in evaluation mode."""

    ours: DescribedModel
    theirs: nn.Module
    family: Family[Any]
    architecture: str

    def require_same(self, ours: Tensor, theirs: Tensor, keep: Tensor | None = None) -> None:
        """Both outputs, and all gradients of a random projection of them, agree to 1e-5 (relative, max norm).

        Args:
            ours: output of ours.
            theirs: the same output of theirs.
            keep: bool [B, T]: the tokens that count, where the others are padding.
        """
        if keep is not None:
            ours, theirs = ours[keep], theirs[keep]
        assert ours.shape == theirs.shape
        assert relative_distance(ours, theirs) < TOLERANCE
        upstream = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).to(ours.dtype)
        mine = gradients(self.ours, (ours * upstream).sum())
        expected = as_stored(self.theirs, gradients(self.theirs, (theirs * upstream).sum()))
        # Renaming, stacking and transposing are linear, so they carry gradients as well as weights.
        renamed = exported(mine, self.family, self.architecture)
        floor = _VANISHING * max(float(gradient.abs().max()) for gradient in expected.values())
        distances = {
            name: relative_distance(renamed[name], expected[name], floor) for name in renamed if name in expected
        }
        used = {name for name, gradient in expected.items() if gradient.abs().max() > 0}
        assert used <= distances.keys(), used - distances.keys()
        assert max(distances.values()) < TOLERANCE, {k: v for k, v in distances.items() if v >= TOLERANCE}

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


def pair_of(theirs: nn.Module, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Pair:
    """`theirs` with random weights, and ours with the same."""
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
    return Pair(ours.to(dtype).eval(), theirs.to(dtype).eval(), found, architecture)


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


Configuration = Mapping[str, Any]
