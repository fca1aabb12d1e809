from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.errors import CheckpointError, ConfigError
from train.efficiency import Efficiency
from train.recipe import Recipe, load_recipe, recipe_of_run
from train.run_folder import RunFolder, require_same_data
from train.world import World

RecipeOf = Callable[..., Recipe]


def tree_hash(path: Path) -> dict[str, str]:
    """Every file and folder under `path`, with the hash of what files hold."""
    return {
        str(item.relative_to(path)): hashlib.sha256(item.read_bytes()).hexdigest() if item.is_file() else "folder"
        for item in sorted(path.rglob("*"))
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "tiny"


def start(recipe: Recipe, step: int = 0) -> RunFolder:
    folder = RunFolder(Path(recipe.run))
    folder.claim(recipe)
    folder.begin(recipe, World(), step, Efficiency())
    return folder


def finished(recipe: Recipe) -> Path:
    """A run folder that nobody holds, with a checkpoint in it."""
    start(recipe).release()
    checkpoint = Path(recipe.run) / "checkpoints" / "step-00000005"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    return Path(recipe.run)


def test_a_new_run_writes_its_recipe_and_environment(recipe_of: RecipeOf, run: Path) -> None:
    start(recipe_of(run)).release()
    assert {item.name for item in run.iterdir()} == {".lock", "config.yaml", "environment.json"}
    assert recipe_of_run(run) == recipe_of(run)
    environment = json.loads((run / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["world_size"] == 1
    assert [item["step"] for item in environment["starts"]] == [0]


def test_claiming_alone_writes_nothing_but_the_lock(recipe_of: RecipeOf, run: Path) -> None:
    folder = RunFolder(run)
    folder.claim(recipe_of(run))
    folder.release()
    assert tree_hash(run).keys() == {".lock"}


def test_every_start_is_remembered(recipe_of: RecipeOf, run: Path) -> None:
    for step in (0, 5, 7):
        start(recipe_of(run), step).release()
    starts = json.loads((run / "environment.json").read_text())["starts"]
    assert [item["step"] for item in starts] == [0, 5, 7]


def test_a_damaged_environment_file_does_not_keep_a_run_from_going_on(recipe_of: RecipeOf, run: Path) -> None:
    start(recipe_of(run)).release()
    (run / "environment.json").write_text('{"starts": [')
    start(recipe_of(run), 3).release()
    assert [item["step"] for item in json.loads((run / "environment.json").read_text())["starts"]] == [3]


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"steps": 99}},
        {"engine": {"kind": "deepspeed", "zero": 1}},
        {"log": {"every": 3}},
        {"checkpoint": {"every": 3}},
        {"precision": "bf16"},
        {"batch": {"micro": 2}},
    ],
    ids=str,
)
def test_a_run_may_go_on_with_other_values_of_these_keys(
    recipe_of: RecipeOf, run: Path, change: dict[str, Any]
) -> None:
    finished(recipe_of(run))
    changed = recipe_of(run, **change)
    start(changed, 5).release()
    assert recipe_of_run(run) == changed


def test_another_recipe_is_refused_naming_its_keys_and_no_byte_changes(recipe_of: RecipeOf, run: Path) -> None:
    finished(recipe_of(run))
    before = tree_hash(run)
    other = recipe_of(run, seed=3, model={"dim": 16}, train={"steps": 99})
    with pytest.raises(ConfigError) as error:
        RunFolder(run).claim(other)
    assert str(error.value).splitlines() == [
        f"run={run}: belongs to another recipe:",
        "  model.dim: 8 there, 16 here",
        "  seed: 0 there, 3 here",
        "Choose another run folder (run=...), or restore these keys.",
    ]
    assert tree_hash(run) == before


@pytest.mark.parametrize("name", ["notes.txt", "checkpoints", ".hidden", "config.yml"])
def test_a_folder_that_holds_something_else_is_refused_untouched(recipe_of: RecipeOf, run: Path, name: str) -> None:
    run.mkdir(parents=True)
    (run / name).write_text("mine")
    before = tree_hash(run)
    with pytest.raises(ConfigError, match="exists and is not a run folder"):
        RunFolder(run).claim(recipe_of(run))
    assert tree_hash(run) == before


def test_an_empty_folder_is_taken(recipe_of: RecipeOf, run: Path) -> None:
    run.mkdir(parents=True)
    start(recipe_of(run)).release()
    assert recipe_of_run(run) == recipe_of(run)


def test_a_file_in_the_place_of_the_folder_is_refused_untouched(recipe_of: RecipeOf, run: Path) -> None:
    run.parent.mkdir()
    run.write_text("mine")
    with pytest.raises(ConfigError, match="exists and is not a run folder"):
        RunFolder(run).claim(recipe_of(run))
    with pytest.raises(ConfigError, match="cannot be written"):
        RunFolder(run / "below").claim(recipe_of(run / "below"))
    assert run.read_text() == "mine"


def test_a_run_in_which_somebody_trains_is_refused_untouched(recipe_of: RecipeOf, run: Path) -> None:
    held = start(recipe_of(run))
    before = tree_hash(run)
    with pytest.raises(ConfigError, match="another process is training in this folder"):
        RunFolder(run).claim(recipe_of(run))
    assert tree_hash(run) == before
    held.release()
    start(recipe_of(run)).release()


def test_the_lock_dies_with_its_process(recipe_of: RecipeOf, run: Path) -> None:
    finished(recipe_of(run))
    hold = f"lock = open({str(run / '.lock')!r}); fcntl.flock(lock, fcntl.LOCK_EX)"
    code = f"import fcntl; {hold}; print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ConfigError, match="another process is training"):
            RunFolder(run).claim(recipe_of(run))
        holder.kill()
        holder.wait()
        start(recipe_of(run)).release()


def test_releasing_what_was_never_claimed_does_nothing(run: Path) -> None:
    RunFolder(run).release()
    assert not run.exists()


class KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("is_torn", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_first_start_killed_at_any_moment_can_be_repeated(
    recipe_of: RecipeOf, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_torn: bool
) -> None:
    (tmp_path / "tokenizer.json").write_text("0123456789")
    recipe = recipe_of(run, data={"tokenizer": str(tmp_path / "tokenizer.json")})
    replace, done = os.replace, []

    def replace_or_die(source: Path, target: Path) -> None:
        if len(done) == number:
            os.truncate(source, source.stat().st_size // 2 if is_torn else source.stat().st_size)
            raise KilledError
        done.append(target.name)
        replace(source, target)

    folder = RunFolder(run)
    folder.claim(recipe)
    with monkeypatch.context() as dying:
        dying.setattr(os, "replace", replace_or_die)
        with pytest.raises(KilledError):
            folder.begin(recipe, World(), 0, Efficiency())
    folder.release()  # the kernel does this for a dead process

    start(recipe).release()
    assert RunFolder(run).tokenizer.read_text() == "0123456789"
    assert recipe_of_run(run) == recipe
    assert {item.name for item in run.iterdir()} == {".lock", "config.yaml", "environment.json", "tokenizer.json"}


def test_the_tokenizer_is_copied_once_and_then_belongs_to_the_run(
    recipe_of: RecipeOf, run: Path, tmp_path: Path
) -> None:
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("first")
    recipe = recipe_of(run, data={"tokenizer": str(tokenizer)})
    start(recipe).release()
    tokenizer.write_text("second")
    start(recipe, 5).release()
    assert RunFolder(run).tokenizer.read_text() == "first"


def test_other_data_are_refused_with_both_fingerprints(tmp_path: Path) -> None:
    require_same_data(0xAB, 0xAB, tmp_path)
    with pytest.raises(CheckpointError, match=r"fingerprint 00000000000000ab; data\.train now has 00000000000000cd"):
        require_same_data(0xCD, 0xAB, tmp_path)


def test_a_disk_that_cannot_lock_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cannot_lock(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("train.run_folder.fcntl.flock", cannot_lock)
    RunFolder(tmp_path / "run").claim(load_recipe("configs/quickstart.yaml", [f"run={tmp_path / 'run'}"]))
    assert "cannot be locked" in capsys.readouterr().err
