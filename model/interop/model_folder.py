"""A model in a folder of ours: what `polytrain import` writes and `polytrain export` takes back.

model.yaml           `model:`, as in a recipe, resolved; `head:`; special tokens
model.safetensors    weights under our names: `transformer.` and `head.`
tokenizer.json ...   the tokenizer's files as they were
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import yaml
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from configs.errors import CheckpointError, ConfigError
from configs.files import new_folder
from configs.options import Options, validate
from model.interop.family import Description
from model.interop.hugging_face import TOKENIZER_FILES
from model.options import AnyHead, AnyModel

DESCRIPTION, WEIGHTS = "model.yaml", "model.safetensors"


class ModelFile(Options):
    """The content of model.yaml."""

    model: AnyModel
    "The model, as in a recipe."
    head: AnyHead | None = None
    "The head that was trained with it."
    special_tokens: dict[str, Any] = Field(default_factory=dict)
    "bos_token_id and the like, as in config.json."


@dataclass(frozen=True)
class ModelFolder:
    """A description and its weights."""

    description: Description[Any]
    weights: Mapping[str, Tensor]
    special_tokens: Mapping[str, Any]

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether `path` looks like such a folder."""
        return (path / DESCRIPTION).is_file()

    @classmethod
    def read(cls, path: Path) -> Self:
        """The model in `path`.

        Raises:
            UserError: when it is damaged.
        """
        try:
            tree = yaml.safe_load((path / DESCRIPTION).read_text())
            weights = load_file(path / WEIGHTS)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None
        except SafetensorError as error:
            raise CheckpointError(f"{path / WEIGHTS}: damaged or cut short: {error}") from None
        file = cast(ModelFile, validate(ModelFile, tree, str(path / DESCRIPTION)))
        return cls(Description(file.model, file.head), weights, file.special_tokens)

    def write(self, path: Path, tokenizer: Path) -> None:
        """Create the folder, complete or not at all, with the tokenizer files of the folder `tokenizer`.

        Raises:
            ConfigError: when `path` exists, or cannot be written.
        """
        description = self.description
        file = ModelFile(model=description.model, head=description.head, special_tokens=dict(self.special_tokens))
        with new_folder(path) as folder:
            (folder / DESCRIPTION).write_text(yaml.safe_dump(file.tree(), sort_keys=False))
            try:
                save_file(dict(self.weights), folder / WEIGHTS, metadata={"format": "pt"})
            except SafetensorError as error:  # a full disk, among others
                raise OSError(error) from None
            copy_tokenizer(tokenizer, folder)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the files of a tokenizer that are there."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
