from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.errors import DataError
from data.packing.driver import pack
from data.packing.files import FilesPacker
from data.packing.files_options import FilesPackOptions
from data.sample import SampleError
from data.samples import Samples
from data.sources import SamplesOptions


def picture(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), value, dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    root = tmp_path / "scenes"
    (root / "night").mkdir(parents=True)
    for number, folder in enumerate(("", "night/", "night/")):
        for member, value in (("left", 10), ("right", 20)):
            (root / f"{folder}scene{number}_{member}.png").write_bytes(picture(value + number))
        np.savez(root / f"{folder}scene{number}_disp.npz", disparity=np.full((4, 6), number, dtype=np.float32))
    (root / "README").write_text("not a sample")
    return root


def options(root: Path, **changes: object) -> FilesPackOptions:
    return FilesPackOptions.model_validate({"corpus": str(root), "validation": 0.0, **changes})


def test_files_of_one_key_become_one_sample(scenes: Path, tmp_path: Path) -> None:
    pack(options(scenes), tmp_path / "out")
    fields = {"left": "left.png", "right": "right.png", "depth": "disp.npz"}
    source = Samples(SamplesOptions(shards=str(tmp_path / "out/*.tar"), fields=fields))
    found = [source[index] for index in range(len(source))]
    numbers = [int(sample["depth.disparity"][0, 0]) for sample in found]
    assert sorted(numbers) == [0, 1, 2]
    for number, sample in zip(numbers, found, strict=True):
        assert (sample["left"] == 10 + number).all()
        assert (sample["right"] == 20 + number).all()


def test_chosen_members_must_all_be_there(scenes: Path) -> None:
    chosen = FilesPacker(options(scenes, members=["left.png"]), str(scenes))
    assert [list(item.content) for item in chosen.items()] == [["left.png"]] * 3
    (scenes / "night/scene1_right.png").unlink()
    with pytest.raises(DataError, match=r"'night/scene1' has no right\.png \(members\), only disp\.npz, left\.png"):
        list(FilesPacker(options(scenes, members=["left.png", "right.png"]), str(scenes)).items())


def test_two_files_for_one_member_are_refused(scenes: Path) -> None:
    (scenes / "scene0-left.png").write_bytes(picture(1))
    with pytest.raises(DataError, match=r"'scene0' has two members left\.png"):
        list(FilesPacker(options(scenes), str(scenes)).items())


def test_what_cannot_be_decoded_is_named(scenes: Path) -> None:
    (scenes / "scene0_left.png").write_bytes(picture(1)[:40])
    packer = FilesPacker(options(scenes), str(scenes))
    with pytest.raises(SampleError, match=r"scene0_left\.png: "):
        [packer.encode(item) for item in packer.items()]


@pytest.mark.parametrize("pattern", ["(", "(?P<key>.+)", "(?P<extension>.+)"])
def test_a_pattern_needs_its_groups(pattern: str, scenes: Path) -> None:
    with pytest.raises(ValueError, match="pattern"):
        options(scenes, pattern=pattern)


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file matches the pattern"):
        list(FilesPacker(options(tmp_path), str(tmp_path)).items())
    with pytest.raises(DataError, match="no such folder"):
        list(FilesPacker(options(tmp_path / "x"), str(tmp_path / "x")).items())
