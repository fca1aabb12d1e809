from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from configs.errors import DataError
from data.packing.text.documents import Document, documents
from data.packing.text.readers.options import DocumentOptions


def read(corpus: Path | str, **options: Any) -> list[Document]:
    return list(documents(str(corpus), DocumentOptions(**options)))


@pytest.fixture
def dataset() -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"]), "size": Value("int32")})
    rows = {"text": ["one", "", "three"], "label": [1, 0, -1], "size": [3, 0, 5]}
    return Dataset.from_dict(rows, features=features)


def test_a_saved_data_set_is_read(tmp_path: Path, dataset: Dataset) -> None:
    dataset.save_to_disk(str(tmp_path / "saved"))
    assert read(tmp_path / "saved", label_key="label") == [
        Document("saved:1", "one", "saved:1", "good"),
        Document("saved:3", "three", "saved:3", None),
    ]
    assert [document.label for document in read(tmp_path / "saved", label_key="size")] == [3, 5]


def test_a_split_of_a_saved_data_set_is_named(tmp_path: Path, dataset: Dataset) -> None:
    DatasetDict(train=dataset, test=dataset).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match=r"saved: holds the splits train, test. Name one, such as .*saved/train"):
        read(tmp_path / "saved")
    assert [document.name for document in read(tmp_path / "saved/test")] == ["test:1", "test:3"]


def test_a_column_that_is_not_there_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    dataset.save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match="has no column 'txet'; did you mean 'text'"):
        read(tmp_path / "saved", text_key="txet")


def test_a_damaged_saved_data_set_is_named(tmp_path: Path, dataset: Dataset) -> None:
    dataset.save_to_disk(str(tmp_path / "saved"))
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(b"damaged")
    with pytest.raises(DataError, match="saved: cannot be read as a saved data set"):
        read(tmp_path / "saved")


@pytest.fixture
def hub_folder(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the library takes for a repository of the hub: a folder with files named by their split."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "repository").mkdir()
    for split, size in (("train", 3), ("test", 1)):
        dataset.select(range(size)).to_parquet(str(tmp_path / f"repository/{split}.parquet"))
    return f"hf:{tmp_path / 'repository'}"


def test_a_data_set_of_the_hub_is_streamed(hub_folder: str) -> None:
    assert [(document.name, document.text) for document in read(hub_folder)] == [
        (f"{hub_folder}:1", "one"),
        (f"{hub_folder}:3", "three"),
    ]
    assert [document.text for document in read(f"{hub_folder}:default@test", label_key="label")] == ["one"]


def test_what_the_hub_does_not_have_is_refused(hub_folder: str) -> None:
    with pytest.raises(DataError, match=r"hf:.*@validation: cannot be opened: .*Expected hf:NAME"):
        read(f"{hub_folder}@validation")
    with pytest.raises(DataError, match="cannot be opened"):
        read(f"{hub_folder}/nowhere")
