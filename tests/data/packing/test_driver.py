"""The packing driver, by a packer of numbers."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import pytest

from configs.errors import DataError
from data.index import open_index
from data.packing.driver import pack, survey
from data.packing.options import PackOptions
from data.packing.record import Item, Packer, Record
from data.sample import SampleError
from data.samples import Samples
from data.sources import SamplesOptions

HERE = Path(__file__).resolve()


class NumberOptions(PackOptions):
    kind: Literal["numbers"] = "numbers"
    count: int = 300
    damaged: list[int] = []
    pause: float = 0.0

    builds = f"{__name__}:Numbers"


class Numbers(Packer[int]):
    """Items 0, 1, ...: an array of 200 bytes and a text each."""

    def __init__(self, options: NumberOptions, location: str) -> None:
        self.options = options

    def items(self) -> Iterator[Item[int]]:
        for number in range(self.options.count):
            yield Item(f"n{number}", f"n{number}", number)

    def encode(self, item: Item[int]) -> Record:
        time.sleep(self.options.pause)
        if item.content in self.options.damaged:
            raise SampleError(f"{item.name}: damaged")
        values = np.full(50, item.content, dtype=np.int32)
        return Record({"values.npy": values, "txt": item.name, "cls": item.content % 7, "json": {"n": item.name}}, 50)

    def files(self) -> dict[str, bytes]:
        return {"beside.txt": b"beside"}

    def facts(self) -> dict[str, Any]:
        return {"classes": 7}


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> NumberOptions:
    # Spawned workers must find this module by a name.
    monkeypatch.setitem(sys.modules, "packer_of_numbers", sys.modules[__name__])
    return NumberOptions(corpus="numbers", validation=0.2, shard_mb=0.1)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def numbers_in(folder: Path, split: str) -> list[int]:
    source = Samples(SamplesOptions(shards=str(folder / f"{split}-*.tar"), fields={"values": "values.npy"}))
    return [int(source[index]["values"][0]) for index in range(len(source))]


def test_every_item_is_packed_once_in_order_with_its_length_and_members(
    options: NumberOptions, tmp_path: Path, read_plainly: Callable[[Path], list[dict[str, bytes]]]
) -> None:
    corpus = pack(options, tmp_path / "out")
    splits = {split: numbers_in(tmp_path / "out", split) for split in ("train", "validation")}
    assert sorted(splits["train"] + splits["validation"]) == list(range(300))
    assert all(found == sorted(found) for found in splits.values())
    assert len(corpus["splits"]["train"]["shards"]) > 2
    for split, found in splits.items():
        assert corpus["splits"][split]["samples"] == len(found)
        assert corpus["splits"][split]["length"] == 50 * len(found)
        assert sum(
            open_index(tmp_path / "out" / name).length for name in corpus["splits"][split]["shards"]
        ) == 50 * len(found)
    first = read_plainly(tmp_path / "out/train-000000.tar")[0]
    number = splits["train"][0]
    assert (first["txt"], first["cls"]) == (f"n{number}".encode(), str(number % 7).encode())
    assert json.loads(first["json"]) == {"n": f"n{number}"}
    assert corpus["classes"] == 7
    assert (tmp_path / "out/beside.txt").read_bytes() == b"beside"


def test_a_dry_run_counts_and_writes_nothing(options: NumberOptions, tmp_path: Path) -> None:
    found = survey(options)
    pack(options, tmp_path / "out")
    assert {split: facts["examples"] for split, facts in found.items()} == {
        split: len(numbers_in(tmp_path / "out", split)) for split in ("train", "validation")
    }


def test_damaged_items_stop_packing_unless_allowed(options: NumberOptions, tmp_path: Path) -> None:
    damaged = options.model_copy(update={"damaged": [5, 250]})
    with pytest.raises(DataError, match=r"n5: damaged\n1 damaged example\(s\), none may be left out"):
        pack(damaged, tmp_path / "out")
    with pytest.raises(DataError, match=r"n250: damaged\n2 damaged"):
        pack(damaged.model_copy(update={"skip_bad": 1}), tmp_path / "out")
    corpus = pack(damaged.model_copy(update={"skip_bad": 2}), tmp_path / "out")
    assert sorted(bad["name"] for bad in corpus["bad"]) == ["n250", "n5"]
    found = numbers_in(tmp_path / "out", "train") + numbers_in(tmp_path / "out", "validation")
    assert sorted(found) == [number for number in range(300) if number not in (5, 250)]


def test_a_full_disk_is_named_and_what_was_whole_is_kept(options: NumberOptions, tmp_path: Path) -> None:
    pack(options, tmp_path / "expected")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    whole = 3
    written = 0
    original = os.rename

    def fill_the_disk(source: Any, target: Any) -> None:
        nonlocal written
        original(source, target)
        written += 1
        if written == whole:
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limit[1]))

    os.rename = fill_the_disk
    try:
        with pytest.raises(DataError, match=r"File too large\. Whole shards are kept"):
            pack(options, tmp_path / "out")
    finally:
        os.rename = original
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, previous)
    partial = tmp_path / "out.partial"
    assert not (tmp_path / "out").exists()
    shards = sorted(partial.glob("*.tar"))
    assert len(shards) == whole
    for path in shards:
        assert path.read_bytes() == (tmp_path / "expected" / path.name).read_bytes()
    pack(options, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


def test_a_corpus_that_changed_in_between_is_not_mixed(options: NumberOptions, tmp_path: Path) -> None:
    stop = options.model_copy(update={"damaged": [290]})
    with pytest.raises(DataError):
        pack(stop, tmp_path / "out")

    class Other(Numbers):
        def items(self) -> Iterator[Item[int]]:
            for item in super().items():
                yield Item(item.name.replace("n", "m"), item.group, item.content)

    sys.modules[__name__].Numbers, original = Other, Numbers  # type: ignore[attr-defined]
    try:
        with pytest.raises(DataError, match="the corpus has changed since packing was interrupted"):
            pack(stop, tmp_path / "out")
    finally:
        sys.modules[__name__].Numbers = original  # type: ignore[attr-defined]


def test_a_corpus_that_shrank_in_between_is_noticed(options: NumberOptions, tmp_path: Path) -> None:
    stop = options.model_copy(update={"damaged": [290]})
    with pytest.raises(DataError):
        pack(stop, tmp_path / "out")
    (partial,) = tmp_path.glob("*.partial")
    fewer = stop.model_copy(update={"count": 10})
    (partial / "options.json").write_text(
        json.dumps({k: v for k, v in fewer.tree().items() if k != "skip_bad"}, indent=2)
    )
    with pytest.raises(DataError, match=r"the corpus has changed since packing was interrupted \(\d+ fewer examples"):
        pack(fewer, tmp_path / "out")


def test_tolerating_more_damage_goes_on_behind_the_whole_shards(options: NumberOptions, tmp_path: Path) -> None:
    damaged = options.model_copy(update={"damaged": [7, 290]})
    with pytest.raises(DataError, match="n290"):
        pack(damaged.model_copy(update={"skip_bad": 1}), tmp_path / "out")
    before = {path.name: path.stat().st_ino for path in (tmp_path / "out.partial").glob("*.tar")}
    tolerant = damaged.model_copy(update={"skip_bad": 2})
    corpus = pack(tolerant, tmp_path / "out")
    assert before
    assert all((tmp_path / "out" / name).stat().st_ino == inode for name, inode in before.items())
    assert corpus["bad"] == pack(tolerant, tmp_path / "at once")["bad"]
    # What is packed does not depend on how much more would have been tolerated.
    assert pack(damaged.model_copy(update={"skip_bad": 9}), tmp_path / "out") == corpus


def test_a_folder_of_somebody_else_is_not_emptied(options: NumberOptions, tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial/precious.txt").write_text("keep me")
    with pytest.raises(DataError, match="was not begun by packing"):
        pack(options, tmp_path / "out")
    assert (tmp_path / "out.partial/precious.txt").read_text() == "keep me"


def test_other_options_start_again(options: NumberOptions, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        pack(options.model_copy(update={"damaged": [290]}), tmp_path / "out")
    assert list((tmp_path / "out.partial").glob("*.tar"))
    pack(options, tmp_path / "out")
    pack(options, tmp_path / "expected")
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


_PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import test_driver
from pathlib import Path
from data.packing.driver import pack
if __name__ == "__main__":
    options = test_driver.NumberOptions(corpus="numbers", validation=0.2, shard_mb=0.02, pause={pause})
    pack(options, Path({output!r}), workers={workers})
"""


def _start(tmp_path: Path, *, workers: int, pause: float = 0.0) -> subprocess.Popen[bytes]:
    program = tmp_path / f"program-{workers}-{pause}.py"
    program.write_text(
        _PROGRAM.format(folder=str(HERE.parent), output=str(tmp_path / "out"), workers=workers, pause=pause)
    )
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[3])}
    return subprocess.Popen([sys.executable, str(program)], env=environment, start_new_session=True)


@pytest.mark.processes
def test_killed_at_any_moment_it_goes_on_with_any_number_of_workers(options: NumberOptions, tmp_path: Path) -> None:
    expected = options.model_copy(update={"shard_mb": 0.02, "pause": 0.002})
    pack(expected, tmp_path / "expected")
    partial = tmp_path / "out.partial"
    for workers, shards in ((1, 2), (2, 6), (2, 9)):
        process = _start(tmp_path, workers=workers, pause=0.002)
        while len(list(partial.glob("*.tar"))) < shards:
            assert process.poll() is None
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "out").exists()
        for path in partial.glob("*.tar"):
            assert path.read_bytes() == (tmp_path / "expected" / path.name).read_bytes()
    assert _start(tmp_path, workers=2, pause=0.002).wait() == 0
    found, wanted = contents(tmp_path / "out"), contents(tmp_path / "expected")
    assert found == wanted


@pytest.mark.processes
def test_workers_die_with_the_packing_process(tmp_path: Path) -> None:
    process = _start(tmp_path, workers=2, pause=0.02)
    deadline = time.monotonic() + 60
    while len(workers := psutil.Process(process.pid).children()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    # The resource tracker of multiprocessing ends by itself.
    packers = [worker for worker in workers if any("spawn_main" in word for word in _words(worker))]
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in packers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
