"""A process killed at any moment, and any damage afterwards, leaves a whole state or an honest error."""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from torch import Tensor

import train.checkpoint
from configs.errors import CheckpointError
from train.checkpoint import About, Checkpoint, Checkpoints, Position, Shapes, _write_fragments
from train.state import WEIGHT, Fragment
from train.world import World

SHAPES: Shapes = {"a.weight": (3, 4), "b:bias": (5,)}
FIELDS = (WEIGHT, "exp_avg", "exp_avg_sq")


def values(step: int) -> dict[tuple[str, str], Tensor]:
    """The whole state after `step` steps: different numbers in every field of every step."""
    generator = torch.Generator().manual_seed(step)
    return {
        (kind, name): torch.randn(math.prod(shape), generator=generator)
        for kind in FIELDS
        for name, shape in SHAPES.items()
    }


def fragments_of(step: int, start: float = 0.0, stop: float = 1.0) -> list[Fragment]:
    """The share of the state between two relative places of every tensor."""
    state, found = values(step), []
    for name, shape in SHAPES.items():
        numel = math.prod(shape)
        part = slice(round(numel * start), round(numel * stop))
        weight, *moments = (state[kind, name][part] for kind in FIELDS)
        found.append(Fragment(name, part.start, weight, dict(zip(FIELDS[1:], moments, strict=True))))
    return found


def about(step: int) -> About:
    return About(Position(step, samples=8 * step, tokens=50 * step), SHAPES, data_fingerprint=2**63 - 1 - step)


def save(folder: Path, step: int, *, keep_last: int = 5) -> Path:
    return Checkpoints(folder, World()).save(fragments_of(step), about(step), f"step: {step}\n", keep_last=keep_last)


def newest(folder: Path) -> Checkpoint | None:
    return Checkpoints(folder, World()).newest_intact(lambda _: None)


def require_state(checkpoint: Checkpoint | None, step: int) -> None:
    """Everything about the checkpoint is that of `step`, and nothing of another."""
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.position, checkpoint.shapes) == (step, about(step).position, SHAPES)
    assert checkpoint.data_fingerprint == about(step).data_fingerprint
    for (kind, name), expected in values(step).items():
        assert torch.equal(checkpoint.read(kind, name, 0, len(expected)), expected)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    folder = save(tmp_path / "checkpoints", 7)
    assert folder == tmp_path / "checkpoints" / "step-00000007"
    assert (folder / "config.yaml").read_text() == "step: 7\n"
    checkpoint = newest(tmp_path / "checkpoints")
    require_state(checkpoint, 7)
    assert checkpoint is not None
    weights = checkpoint.weights()
    assert {name: tuple(item.shape) for name, item in weights.items()} == SHAPES
    assert torch.equal(weights["a.weight"].flatten(), values(7)[WEIGHT, "a.weight"])


def test_a_run_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "missing") is None
    assert Checkpoints(tmp_path / "missing", World()).steps() == []


def test_the_manifest_lists_every_file(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert {*listed, "manifest.json"} == {path.name for path in folder.iterdir()}


def test_latest_names_the_newest(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step)
        assert (tmp_path / "latest").read_text() == f"step-{step:08d}\n"


@pytest.mark.parametrize("keep_last", [1, 2, 3])
def test_only_the_newest_are_kept(tmp_path: Path, keep_last: int) -> None:
    for step in (5, 10, 15, 20):
        save(tmp_path, step, keep_last=keep_last)
    kept = [f"step-{step:08d}" for step in (20, 15, 10)[:keep_last]]
    assert [path.name for path in Checkpoints(tmp_path, World()).steps()] == kept
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "latest"}


def test_moments_of_another_dtype_are_stored_in_float32(tmp_path: Path) -> None:
    fragment = Fragment("b:bias", 0, torch.arange(5, dtype=torch.bfloat16), {})
    Checkpoints(tmp_path, World()).save([fragment], about(1), "", keep_last=1)
    checkpoint = newest(tmp_path)
    assert checkpoint is not None
    found = checkpoint.read(WEIGHT, "b:bias", 0, 5)
    assert (found.dtype, found.tolist()) == (torch.float32, [0, 1, 2, 3, 4])


def test_fragments_of_other_ranks_are_not_written(tmp_path: Path) -> None:
    mine, other = fragments_of(1)
    other = Fragment(other.name, other.start, other.weight, other.moments, is_written=False)
    Checkpoints(tmp_path, World()).save([mine, other], about(1), "", keep_last=1)
    checkpoint = newest(tmp_path)
    assert checkpoint is not None
    assert torch.equal(checkpoint.read(WEIGHT, mine.name, 0, 12), mine.weight)
    with pytest.raises(CheckpointError, match=r"weight of b:bias: 0 of 5 elements from 0 are there"):
        checkpoint.read(WEIGHT, other.name, 0, 5)


# Several ranks.


@dataclass(frozen=True)
class ThreadWorld(World):
    """Ranks as threads of this process."""

    board: list[object] = field(default_factory=list)
    meeting: Any = None

    def gather(self, value: object) -> list[object]:
        self.board[self.rank] = value
        self.meeting.wait()
        values = list(self.board)
        self.meeting.wait()
        return values


def on_ranks(size: int, action: Callable[[ThreadWorld], object]) -> list[object]:
    """Run `action` on every rank; what each returned or raised."""
    board, meeting = [None] * size, threading.Barrier(size, timeout=30)
    results: list[object] = [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = action(ThreadWorld(rank, size, board=board, meeting=meeting))
        except CheckpointError as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def save_on_ranks(folder: Path, step: int, size: int) -> list[object]:
    def of_rank(world: ThreadWorld) -> Path:
        share = fragments_of(step, world.rank / size, (world.rank + 1) / size)
        return Checkpoints(folder, world).save(share, about(step), "", keep_last=5)

    return on_ranks(size, of_rank)


@pytest.mark.parametrize("size", [2, 3])
def test_what_several_ranks_save_one_rank_loads(tmp_path: Path, size: int) -> None:
    paths = save_on_ranks(tmp_path, 4, size)
    assert paths == [tmp_path / "step-00000004"] * size
    assert len(list((tmp_path / "step-00000004").glob("rank-*.safetensors"))) == size
    require_state(newest(tmp_path), 4)


@pytest.mark.parametrize("size", [2, 3])
def test_all_ranks_agree_on_what_is_intact_although_each_hashes_a_share(tmp_path: Path, size: int) -> None:
    save(tmp_path, 1)
    save_on_ranks(tmp_path, 2, 3)
    for name in ("rank-00000.safetensors", "rank-00002.safetensors", "state.json"):
        shutil.copytree(tmp_path, tmp_path / "copy", ignore=lambda *_: {"copy"})
        flip(tmp_path / "copy" / "step-00000002" / name, 0)
        found = on_ranks(size, lambda world: Checkpoints(tmp_path / "copy", world).newest_intact(lambda _: None))
        assert [getattr(item, "step", item) for item in found] == [1] * size
        shutil.rmtree(tmp_path / "copy")


def test_a_failure_of_one_rank_is_an_error_on_every_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)

    def full(path: Path, fragments: object) -> None:
        if path.name == "rank-00001.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device")
        _write_fragments(path, fragments)  # type: ignore[arg-type]

    monkeypatch.setattr(train.checkpoint, "_write_fragments", full)
    errors = save_on_ranks(tmp_path, 2, 3)
    assert all(isinstance(error, CheckpointError) for error in errors)
    assert len({str(error) for error in errors}) == 1
    assert "rank 1: [Errno 28] No space left on device" in str(errors[0])
    require_state(newest(tmp_path), 1)


@st.composite
def cut_state(draw: st.DrawFn) -> tuple[int, list[list[tuple[int, int]]], tuple[int, int]]:
    """The size of a tensor, the pieces each rank wrote, and a range to read."""
    numel = draw(st.integers(1, 20))
    cuts = sorted(draw(st.sets(st.integers(1, numel - 1)))) if numel > 1 else []
    edges = [0, *cuts, numel]
    pieces = draw(st.permutations(list(itertools.pairwise(edges))))
    ranks: list[list[tuple[int, int]]] = [[] for _ in range(draw(st.integers(1, 3)))]
    for number, piece in enumerate(pieces):
        ranks[number % len(ranks)].append(piece)
    start = draw(st.integers(0, numel))
    return numel, ranks, (start, draw(st.integers(start, numel)))


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pieces")


def write_pieces(folder: Path, numel: int, ranks: list[list[tuple[int, int]]]) -> tuple[Checkpoint, Tensor]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    whole = torch.arange(numel, dtype=torch.float32) + 1
    for rank, pieces in enumerate(ranks):
        fragments = [Fragment("w", first, whole[first:last], {"exp_avg": -whole[first:last]}) for first, last in pieces]
        _write_fragments(folder / f"rank-{rank:05d}.safetensors", fragments)
    state = {"step": 0, "samples": 0, "tokens": 0, "parameters": {"w": [numel]}, "data_fingerprint": 0}
    (folder / "state.json").write_text(json.dumps(state))
    return Checkpoint(folder), whole


@settings(deadline=None, max_examples=60)
@given(state=cut_state())
def test_any_range_is_pieced_together_from_any_cut(
    scratch: Path, state: tuple[int, list[list[tuple[int, int]]], tuple[int, int]]
) -> None:
    numel, ranks, (start, stop) = state
    checkpoint, whole = write_pieces(scratch, numel, ranks)
    assert checkpoint.read(WEIGHT, "w", start, stop - start).tolist() == whole[start:stop].tolist()
    assert checkpoint.read("exp_avg", "w", start, stop - start).tolist() == (-whole[start:stop]).tolist()


def test_a_range_with_a_hole_is_an_error_and_never_filled_with_garbage(scratch: Path) -> None:
    checkpoint, whole = write_pieces(scratch, 10, [[(0, 4)], [(6, 10)]])
    assert checkpoint.read(WEIGHT, "w", 6, 4).tolist() == whole[6:].tolist()
    for start, numel, there in [(3, 2, 1), (4, 2, 0), (0, 10, 8), (8, 3, 2)]:
        with pytest.raises(CheckpointError, match=f"weight of w: {there} of {numel} elements from {start} are there"):
            checkpoint.read(WEIGHT, "w", start, numel)


@pytest.mark.parametrize(("kind", "name"), [("momentum", "w"), (WEIGHT, "v")])
def test_an_unknown_field_or_name_is_an_error(scratch: Path, kind: str, name: str) -> None:
    checkpoint, _ = write_pieces(scratch, 4, [[(0, 4)]])
    with pytest.raises(CheckpointError, match=f"{kind} of {name}: 0 of 2"):
        checkpoint.read(kind, name, 0, 2)


# Damage.


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    save(folder, 1)
    save(folder, 2)
    return folder


@pytest.fixture
def damaged(two: Path, tmp_path: Path) -> Path:
    shutil.copytree(two, tmp_path / "damaged")
    return tmp_path / "damaged"


FILES = ("rank-00000.safetensors", "state.json", "config.yaml", "manifest.json")


def require_fallback(folder: Path, named: str) -> None:
    reports: list[str] = []
    require_state(Checkpoints(folder, World()).newest_intact(reports.append), 1)
    (report,) = reports
    assert report.startswith("damaged checkpoint passed over: ")
    assert "step-00000002" in report
    assert named in report


def copy_of(two: Path, name: str) -> Path:
    folder = two.with_name(f"{two.name}-{name}")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(two, folder)
    return folder


@pytest.mark.parametrize("name", FILES[:3])
def test_any_flipped_byte_makes_resume_fall_back(two: Path, name: str) -> None:
    size = (two / "step-00000002" / name).stat().st_size
    folder = copy_of(two, "flipped")
    path = folder / "step-00000002" / name
    for place in range(0, size, max(1, size // 20)):
        flip(path, place)
        require_fallback(folder, name)
        flip(path, place)
    require_state(newest(folder), 2)


def test_a_flipped_byte_of_the_manifest_never_lets_a_mixture_through(two: Path) -> None:
    path = (folder := copy_of(two, "manifest")) / "step-00000002" / "manifest.json"
    steps = set()
    for place in range(path.stat().st_size):
        flip(path, place)
        checkpoint = newest(folder)
        assert checkpoint is not None
        # Between tokens JSON allows several bytes, so a few flips do no harm.
        require_state(checkpoint, checkpoint.step)
        steps.add(checkpoint.step)
        flip(path, place)
    assert 1 in steps


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_file_makes_resume_fall_back(damaged: Path, name: str, keep: float) -> None:
    path = damaged / "step-00000002" / name
    os.truncate(path, int(path.stat().st_size * keep))
    require_fallback(damaged, name)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_makes_resume_fall_back(damaged: Path, name: str) -> None:
    (damaged / "step-00000002" / name).unlink()
    require_fallback(damaged, name)


def test_damaged_checkpoints_are_passed_over_but_never_removed(damaged: Path) -> None:
    flip(damaged / "step-00000002" / "state.json", 5)
    require_state(newest(damaged), 1)
    assert (damaged / "step-00000002").is_dir()


def test_when_nothing_is_intact_resume_stops_and_names_every_damage(damaged: Path) -> None:
    (damaged / "step-00000001" / "state.json").unlink()
    flip(damaged / "step-00000002" / "rank-00000.safetensors", 9)
    with pytest.raises(CheckpointError, match="no checkpoint is intact") as error:
        newest(damaged)
    assert "step-00000001: state.json cannot be read" in str(error.value)
    assert "step-00000002: rank-00000.safetensors is" in str(error.value)


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(damaged: Path) -> None:
    flip(damaged / "step-00000002" / "state.json", 5)
    save(damaged, 2)
    require_state(newest(damaged), 2)


def test_a_damaged_newer_checkpoint_does_not_push_out_the_new_one(damaged: Path) -> None:
    save(damaged, 9)
    flip(damaged / "step-00000009" / "state.json", 5)
    # Resumed from step 2 and asked to stop early, the run saves a step below the damaged one.
    save(damaged, 5, keep_last=1)
    require_state(newest(damaged), 5)


def test_a_missing_or_wrong_latest_does_not_matter(damaged: Path) -> None:
    (damaged / "latest").write_text("step-99999999\n")
    require_state(newest(damaged), 2)
    (damaged / "latest").unlink()
    require_state(newest(damaged), 2)


def test_a_leftover_partial_folder_is_ignored_and_removed_by_the_next_save(damaged: Path) -> None:
    shutil.copytree(damaged / "step-00000002", damaged / "step-00000003.partial")
    shutil.copytree(damaged / "step-00000002", damaged / "step-00000001.removed.partial")
    require_state(newest(damaged), 2)
    save(damaged, 4)
    assert {path.name for path in damaged.iterdir()} == {f"step-0000000{step}" for step in (1, 2, 4)} | {"latest"}


def test_the_checkpoint_of_one_step_can_be_asked_for(damaged: Path) -> None:
    checkpoints = Checkpoints(damaged, World())
    require_state(checkpoints.intact_at(1), 1)
    with pytest.raises(CheckpointError, match="step-00000003: no such checkpoint; steps there: 2, 1"):
        checkpoints.intact_at(3)
    flip(damaged / "step-00000001" / "config.yaml", 0)
    with pytest.raises(CheckpointError, match=r"step-00000001: config.yaml is"):
        checkpoints.intact_at(1)


def test_a_folder_that_is_not_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        Checkpoint(tmp_path)


# Death and full disks.


class KilledError(BaseException):
    """The process ends here: nothing after it runs but this test."""


@dataclass
class Saboteur:
    """Ends the process, or fails the call, at the n-th operation on files; writes are torn in half."""

    error: BaseException
    at: int
    calls: int = 0
    happened: bool = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("rename", "replace", "fsync", "mkdir", "rmdir", "unlink"):
            monkeypatch.setattr(os, name, self.before(getattr(os, name)))
        monkeypatch.setattr(pathlib.Path, "write_text", lambda path, text: self.torn_text(path, text))
        monkeypatch.setattr(train.checkpoint, "save_file", self.torn_tensors(train.checkpoint.save_file))

    def is_now(self) -> bool:
        self.calls += 1
        # A dead process does nothing more, clean-up included; a full disk stays full for a while only.
        self.happened = self.happened or self.calls == self.at
        return self.calls == self.at or (self.happened and isinstance(self.error, KilledError))

    def before(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self.is_now():
                raise self.error
            return operation(*args, **kwargs)

        return wrapped

    def torn_text(self, path: Path, text: str) -> None:
        path.write_bytes(text.encode()[: len(text) // 2])
        if self.is_now():
            raise self.error
        path.write_bytes(text.encode())

    def torn_tensors(self, save_file: Callable[..., None]) -> Callable[..., None]:
        def wrapped(tensors: dict[str, Tensor], path: Path) -> None:
            save_file(tensors, path)
            if self.is_now():
                os.truncate(path, path.stat().st_size // 2)
                raise self.error

        return wrapped


def sabotaged_saves(two: Path, error: BaseException, step: int, keep_last: int) -> Iterator[tuple[Path, object]]:
    """Save `step` beside older ones, sabotaged at the first, second, ... operation: the folder, and what was raised."""
    for at in range(1, 200):
        folder, saboteur, raised = copy_of(two, "sabotaged"), Saboteur(error, at), None
        with pytest.MonkeyPatch.context() as monkeypatch:
            saboteur.install(monkeypatch)
            try:
                save(folder, step, keep_last=keep_last)
            except (KilledError, CheckpointError) as found:
                raised = found
        if not saboteur.happened:
            assert at > 12
            return
        yield folder, raised
    pytest.fail("a save of 200 operations")


@pytest.mark.parametrize("keep_last", [1, 2])
def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new_one(two: Path, keep_last: int) -> None:
    outcomes = []
    for folder, _ in sabotaged_saves(two, KilledError(), 3, keep_last):
        # Nothing incomplete bears the name of a checkpoint, so there is no damage to report either.
        checkpoint = Checkpoints(folder, World()).newest_intact(pytest.fail)
        assert checkpoint is not None
        require_state(checkpoint, checkpoint.step)
        outcomes.append(checkpoint.step)
        # The same command again goes on, and clears up.
        save(folder, 3, keep_last=keep_last)
        require_state(newest(folder), 3)
        assert {path.name for path in folder.iterdir()} == {"latest", "step-00000003"} | (
            {"step-00000002"} if keep_last == 2 else set()
        )
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {2, 3}


def test_a_kill_while_a_damaged_checkpoint_is_replaced_leaves_the_old_state_or_the_new_one(two: Path) -> None:
    beside = copy_of(two, "beside")
    flip(beside / "step-00000002" / "state.json", 5)
    outcomes = set()
    for folder, _ in sabotaged_saves(beside, KilledError(), 2, 2):
        checkpoint = newest(folder)
        assert checkpoint is not None
        require_state(checkpoint, checkpoint.step)
        outcomes.add(checkpoint.step)
    assert outcomes == {1, 2}


@pytest.mark.parametrize("keep_last", [1, 2])
def test_a_full_disk_at_any_moment_is_reported_and_leaves_older_checkpoints_intact(two: Path, keep_last: int) -> None:
    outcomes = set()
    for folder, raised in sabotaged_saves(two, OSError(errno.ENOSPC, "No space left on device"), 3, keep_last):
        checkpoint = newest(folder)
        assert checkpoint is not None
        require_state(checkpoint, checkpoint.step)
        if raised is None:
            # Only the removal of old checkpoints may fail silently: the next save tries again.
            assert checkpoint.step == 3
        else:
            assert "could not be written: rank 0: [Errno 28] No space left on device" in str(raised)
        outcomes.add((checkpoint.step, raised is None))
        save(folder, 3, keep_last=keep_last)
        require_state(newest(folder), 3)
    assert (2, False) in outcomes


def test_an_error_of_the_tensor_writer_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(train.checkpoint, "save_file", fail)
    with pytest.raises(CheckpointError, match=r"could not be written: rank 0: .*I/O error"):
        save(tmp_path, 1)
    assert newest(tmp_path) is None


# Other models.


def test_the_same_shapes_are_accepted(two: Path) -> None:
    Checkpoint(two / "step-00000001").require_shapes(dict(SHAPES))


def test_every_difference_of_shapes_is_named(two: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        Checkpoint(two / "step-00000001").require_shapes({"a.weight": (4, 3), "c": (1,)})
    assert str(error.value).splitlines()[1:-1] == [
        "  c: missing in the checkpoint",
        "  b:bias: only in the checkpoint",
        "  a.weight: (3, 4) in the checkpoint, (4, 3) in the model",
    ]


def test_a_long_list_of_differences_is_cut(two: Path) -> None:
    with pytest.raises(CheckpointError, match=r"\.\.\. and 5 more"):
        Checkpoint(two / "step-00000001").require_shapes(SHAPES | {f"extra{number}": (1,) for number in range(15)})
