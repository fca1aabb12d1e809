"""A small causal model with its head, and surgery on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor, nn

from model.heads import LMHead
from model.options import LMHeadOptions, TransformerOptions
from model.surgery.edit import Surgery
from model.surgery.options import AnyEdit
from model.transformer import Transformer

_EDITS: TypeAdapter[Any] = TypeAdapter(list[AnyEdit])


class Whole(nn.Module):
    """Names as an imported model has them: `transformer.`, `head.`."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        self.transformer = Transformer(options)
        vocabulary = options.embedder.vocab_size  # type: ignore[union-attr]
        self.head = LMHead(LMHeadOptions(tied=False, bias=True), options.dim, vocabulary)


@pytest.fixture
def whole_of(options_of: Callable[..., TransformerOptions]) -> Callable[..., Whole]:
    """Float64, every number random."""

    def make(**changes: object) -> Whole:
        whole = Whole(options_of(**changes)).double()
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in whole.parameters():
                parameter.normal_(0.0, 0.4, generator=generator)
        return whole

    return make


@pytest.fixture
def operate() -> Callable[..., Surgery]:
    """Apply edits, written as in a recipe."""

    def apply(module: nn.Module, *edits: Mapping[str, Any]) -> Surgery:
        surgery = Surgery(_EDITS.validate_python(list(edits)))
        surgery.apply(module)
        return surgery

    return apply


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[Mapping[str, Tensor]], str]:
    """Write tensors; returns the path."""

    def write(tensors: Mapping[str, Tensor]) -> str:
        path = tmp_path / "weights.safetensors"
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
        return str(path)

    return write
