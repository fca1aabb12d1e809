"""The cache of shards: whole copies only, within a limit, shared by processes that may be killed."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError, DataError
from configs.options import validate
from data.cache import CacheOptions, ShardCache, storage_of
from data.index import index_path
from data.loader import order_of
from data.sample import SampleError
from data.shards import Shard
from data.sources import DataOptions, build_source
from data.storage import DirectStorage, ShardFile

ROOT = Path(__file__).parents[2]
SIZE = 100_000


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(copies: Path) -> ShardCache:
    """Room for three files of SIZE."""
    return ShardCache(CacheOptions(folder=str(copies), size_gb=3.5 * SIZE / 1e9))


@pytest.fixture
def originals(tmp_path: Path) -> list[Path]:
    """Six files of SIZE."""
    paths = [tmp_path / f"original-{number}.tar" for number in range(6)]
    for number, path in enumerate(paths):
        path.write_bytes(np.random.default_rng(number).bytes(SIZE))
    return paths


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def opened(cache: ShardCache, path: Path) -> ShardFile:
    return cache.open(str(path), SIZE, sha256(path))


def cached(copies: Path, originals: list[Path]) -> list[int]:
    """Which of them lie in the folder, whole."""
    return [number for number, path in enumerate(originals) if (copies / f"{sha256(path)}.tar").is_file()]


def age(copies: Path, original: Path, seconds: float) -> None:
    """Make a copy one that was last used so long ago."""
    os.utime(copies / f"{sha256(original)}.tar", (time.time() - seconds,) * 2)


def test_the_first_read_makes_a_whole_copy(cache: ShardCache, copies: Path, originals: list[Path]) -> None:
    file = opened(cache, originals[0])
    assert not copies.exists()
    content = originals[0].read_bytes()
    assert file.read_many([(5, 10), (SIZE - 1, 1)]) == [content[5:15], content[-1:]]
    copy = copies / f"{sha256(originals[0])}.tar"
    assert (copy.read_bytes(), file.size()) == (content, SIZE)
    originals[0].unlink()
    assert opened_again(cache, copy).read(700, 5) == content[700:705]
    assert not list(copies.glob("*.partial"))


def opened_again(cache: ShardCache, copy: Path) -> ShardFile:
    return cache.open("the original is gone", SIZE, copy.stem)


def test_the_least_recently_used_go_first(cache: ShardCache, copies: Path, originals: list[Path]) -> None:
    for seconds, number in ((30, 0), (20, 1), (10, 2)):
        opened(cache, originals[number]).read(0, 1)
        age(copies, originals[number], seconds)
    opened(cache, originals[0]).read(0, 1)
    opened(cache, originals[3]).read(0, 1)
    assert cached(copies, originals) == [0, 2, 3]


def test_a_file_in_use_is_marked_from_time_to_time(
    cache: ShardCache, copies: Path, originals: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(cache, originals[0])
    now = 1000.0
    monkeypatch.setattr("data.cache.time.monotonic", lambda: now)
    file.read(0, 1)
    copy = copies / f"{sha256(originals[0])}.tar"
    for seconds, is_marked in ((1, False), (60, True)):
        age(copies, originals[0], 1000)
        now += seconds
        file.read(0, 1)
        assert (copy.stat().st_mtime > time.time() - 500) == is_marked


def test_an_evicted_file_stays_readable_and_gives_its_space_back_at_the_next_miss(
    cache: ShardCache, copies: Path, originals: list[Path]
) -> None:
    file = opened(cache, originals[0])
    file.read(0, 1)
    age(copies, originals[0], 1000)
    other = ShardCache(CacheOptions(folder=str(copies), size_gb=3.5 * SIZE / 1e9))
    for original in originals[1:4]:
        opened(other, original).read(0, 1)
    assert cached(copies, originals) == [1, 2, 3]
    links = set(map(os.readlink, open_files()))
    assert any(name.endswith("(deleted)") and str(copies) in name for name in links)
    assert file.read(9, 5) == originals[0].read_bytes()[9:14]
    opened(cache, originals[4]).read(0, 1)
    links = set(map(os.readlink, open_files()))
    assert not any(name.endswith("(deleted)") and str(copies) in name for name in links)
    assert file.read(9, 5) == originals[0].read_bytes()[9:14]


def open_files() -> list[str]:
    names = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return [name for name in names if os.path.lexists(name)]


def test_other_files_in_the_folder_are_left_alone(cache: ShardCache, copies: Path, originals: list[Path]) -> None:
    copies.mkdir()
    for name in ("train-000000.tar", "notes.partial", "corpus.json"):
        (copies / name).write_bytes(b"x" * 3 * SIZE)
        os.utime(copies / name, (0, 0))
    for original in originals:
        opened(cache, original).read(0, 1)
    assert {"train-000000.tar", "notes.partial", "corpus.json"} <= {path.name for path in copies.iterdir()}
    assert len(cached(copies, originals)) == 3


def test_a_shard_that_is_not_what_its_index_says_is_refused_and_leaves_nothing(
    cache: ShardCache, copies: Path, originals: list[Path]
) -> None:
    file = opened(cache, originals[0])
    originals[0].write_bytes(originals[0].read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"original-0\.tar: sha256 is .*, its index says") as caught:
        file.read(0, 1)
    assert not isinstance(caught.value, SampleError)
    originals[0].write_bytes(b"short")
    with pytest.raises(SampleError, match=r"original-0\.tar: ends early"):
        file.read(0, 1)
    assert {path.name for path in copies.iterdir()} == {".lock"}


def test_a_shard_larger_than_the_cache_is_refused(originals: list[Path], copies: Path) -> None:
    small = ShardCache(CacheOptions(folder=str(copies), size_gb=0.5 * SIZE / 1e9))
    with pytest.raises(DataError, match=r"original-0\.tar: .* do not fit into data\.cache\.size_gb"):
        opened(small, originals[0])


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, originals: list[Path]) -> None:
    (tmp_path / "file").touch()
    cache = ShardCache(CacheOptions(folder=str(tmp_path / "file" / "cache"), size_gb=1))
    with pytest.raises(DataError, match=r"file/cache: .* cannot be cached.*data\.cache\.folder"):
        opened(cache, originals[0]).read(0, 1)


def test_a_copy_that_was_cut_is_made_again(cache: ShardCache, copies: Path, originals: list[Path]) -> None:
    opened(cache, originals[0]).read(0, 1)
    os.truncate(copies / f"{sha256(originals[0])}.tar", SIZE // 2)
    assert opened(cache, originals[0]).read(SIZE - 5, 5) == originals[0].read_bytes()[-5:]


def test_leftovers_are_taken_over_or_removed(cache: ShardCache, copies: Path, originals: list[Path]) -> None:
    copies.mkdir()
    for original in originals[:2]:
        (copies / f"{sha256(original)}.partial").write_bytes(b"half" * 10_000)
    assert opened(cache, originals[0]).read(0, 100) == originals[0].read_bytes()[:100]
    assert not list(copies.glob("*.partial"))


_COPY_AND_DIE = """
import os, signal, sys, time
from data.cache import CacheOptions, ShardCache
import data.cache

folder, name, size, sha256, point = sys.argv[1:]
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "copying":
    pieces = data.cache._pieces
    def some(name, size):
        for number, piece in enumerate(pieces(name, size)):
            yield piece[: len(piece) // 2]
            die()
    data.cache._pieces = some
elif point == "making room":
    data.cache._remove_leftover = die
else:
    setattr(os, point, die)
ShardCache(CacheOptions(folder=folder, size_gb=1.0)).open(name, int(size), sha256).read(0, 1)
"""


@pytest.mark.parametrize("point", ["ftruncate", "making room", "copying", "fsync", "rename", "dup"])
def test_a_process_killed_at_any_point_does_no_harm(copies: Path, originals: list[Path], point: str) -> None:
    arguments = [str(copies), str(originals[0]), str(SIZE), sha256(originals[0]), point]
    done = subprocess.run([sys.executable, "-c", _COPY_AND_DIE, *arguments], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    whole = copies / f"{sha256(originals[0])}.tar"
    assert not whole.exists() or whole.read_bytes() == originals[0].read_bytes()
    cache = ShardCache(CacheOptions(folder=str(copies), size_gb=1.0))
    assert opened(cache, originals[1]).read(0, 9) == originals[1].read_bytes()[:9]
    assert not list(copies.glob("*.partial"))
    assert opened(cache, originals[0]).read(9, 9) == originals[0].read_bytes()[9:18]


def _read_all(cache: ShardCache, paths: list[Path], seed: int, counts: object, found: object) -> None:
    import data.cache

    pieces = data.cache._pieces

    def counted(name: str, size: int) -> object:
        counts.put(name)
        time.sleep(0.02)
        yield from pieces(name, size)

    data.cache._pieces = counted
    files = [opened(cache, path) for path in paths]
    right = 0
    for number in np.random.default_rng(seed).integers(len(paths), size=60):
        offset = int(number) * 997
        right += files[number].read(offset, 500) == paths[number].read_bytes()[offset : offset + 500]
    found.put(right)


@pytest.mark.parametrize("room", [3, 6])
def test_processes_share_one_folder(copies: Path, originals: list[Path], room: int) -> None:
    cache = ShardCache(CacheOptions(folder=str(copies), size_gb=(room + 0.5) * SIZE / 1e9))
    fork = multiprocessing.get_context("fork")
    counts, found = fork.Queue(), fork.Queue()
    processes = [fork.Process(target=_read_all, args=(cache, originals, n, counts, found)) for n in range(4)]
    for process in processes:
        process.start()
    assert [found.get(timeout=20) for _ in processes] == [60] * 4
    for process in processes:
        process.join()
    copied = [counts.get(timeout=10) for _ in range(counts.qsize())]
    if room == 6:
        assert sorted(copied) == sorted(map(str, originals))
    another = originals[0].with_name("another.tar")
    another.write_bytes(bytes(SIZE))
    opened(cache, another).read(0, 1)
    assert len(cached(copies, [*originals, another])) <= room
    assert not list(copies.glob("*.partial"))


def test_threads_share_one_cache_that_is_too_small(cache: ShardCache, originals: list[Path]) -> None:
    files = [opened(cache, path) for path in originals]
    contents = [path.read_bytes() for path in originals]

    def read(seed: int) -> bool:
        draws = np.random.default_rng(seed).integers(len(files), size=100).tolist()
        return all(files[n].read(n * 997 + seed, 300) == contents[n][n * 997 + seed :][:300] for n in draws)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(8))) == [True] * 8


def test_shards_read_through_a_cache_and_travel_with_it(
    cache: ShardCache, copies: Path, token_shard: Callable[..., Path], memory: Callable[[str, bytes], str]
) -> None:
    path = token_shard([np.arange(100)])
    memory("c/tokens.tar.index", index_path(path).read_bytes())
    url = memory("c/tokens.tar", path.read_bytes())
    shard = Shard(url, cache)
    assert shard.read(600, 20) == path.read_bytes()[600:620]
    again = pickle.loads(pickle.dumps(shard))
    memory("c/tokens.tar", b"")
    assert again.read(600, 20) == path.read_bytes()[600:620]
    assert [copy.read_bytes() for copy in copies.glob("*.tar")] == [path.read_bytes()]


def test_a_recipe_names_the_cache(packed: Path, copies: Path) -> None:
    tokens = {"kind": "token_windows", "shards": str(packed / "train-*.tar"), "length": 16}
    tree = {"train": {"kind": "mixture", "parts": {"code": {"source": tokens}}}}
    options = validate(DataOptions, tree | {"cache": {"folder": str(copies), "size_gb": 0.1}}, "test")
    assert isinstance(options, DataOptions)
    source = build_source(options.train, storage_of(options.cache))
    plain = build_source(options.train, storage_of(None))
    indices = order_of(plain, 0, 8).indices(np.arange(50)).tolist()
    for index in indices:
        assert np.array_equal(source[index]["tokens"], plain[index]["tokens"])
    assert list(copies.glob("*.tar"))
    assert source.fingerprint == plain.fingerprint
    assert isinstance(storage_of(None), DirectStorage)


@pytest.mark.parametrize("cache", [{"folder": "", "size_gb": 1.0}, {"folder": "x", "size_gb": 0.0}, {"folder": "x"}])
def test_wrong_options_are_refused(cache: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"cache\."):
        validate(DataOptions, {"train": {"kind": "copy", "length": 9}, "cache": cache}, "test")
