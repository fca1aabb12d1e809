"""The way of a user: pack, check, train, go on, generate, export, load elsewhere."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from data.sources import build_source
from data.text.options import TokenWindowsOptions
from model.generate import Sampling
from tests.conftest import Trainer
from train.inference import TrainedModel

pytestmark = pytest.mark.processes

Call = Callable[..., subprocess.CompletedProcess[str]]
_SHORT = ["engine.kind=accelerate", "train.steps=4", "checkpoint.every=2", "batch.global=4", "batch.micro=4"]


def _ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pack_says_what_it_made_and_does_it_once(polytrain: Call, tmp_path: Path) -> None:
    source = Path(sysconfig.get_paths()["stdlib"]) / "json"
    options = ("pack", "text", str(source), "packed", "--vocab-size", "400", "--validation", "0.4", "--json")
    corpus = json.loads(_ok(polytrain(*options)))
    assert corpus["splits"]["train"]["length"] > 1000
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "packed").iterdir()}
    assert json.loads(_ok(polytrain(*options))) == corpus
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "packed").iterdir()} == before


def test_an_empty_corpus_is_refused(polytrain: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = polytrain("pack", "text", "empty", "packed")
    assert done.returncode == 2
    assert "the corpus is empty" in done.stderr
    assert not (tmp_path / "packed").exists()


def test_check_prints_the_tree_and_the_facts(polytrain: Call, trainer: Trainer) -> None:
    recipe, *overrides = trainer.command(*_SHORT, ranks=0)[3:]
    facts = json.loads(_ok(polytrain("check", recipe, *overrides, "--json")))
    assert facts["recipe"]["engine"] == {"kind": "accelerate"}
    assert facts["parameters"] == 512 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 96 + 2 * 32) + 32
    assert facts["train windows"] == len(build_source(TokenWindowsOptions(**facts["recipe"]["data"]["train"])))
    shown = _ok(polytrain("check", recipe, *overrides))
    assert "vocab_size: 512" in shown
    assert f"{facts['parameters']:,}" in shown


def test_more_steps_go_on_from_the_last_checkpoint(trainer: Trainer) -> None:
    trainer.train(*_SHORT, ranks=0)
    code, output = trainer.fails(*_SHORT, "train.steps=6")
    assert code == 0
    assert "resuming from step 4 of 6" in output
    assert [row["step"] for row in trainer.rows() if "probe" not in row] == [1, 2, 3, 4, 5, 6]
    code, output = trainer.fails(*_SHORT, "train.steps=6")
    assert code == 0
    assert "resuming from step 6 of 6" in output
    assert [row["step"] for row in trainer.rows() if "probe" not in row] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "model",
    [[], ["model.norm=layer", "model.positions=learned", "model.bias=true", "model.feed_forward=gelu"]],
    ids=["llama", "gpt2"],
)
def test_an_exported_run_is_the_same_model_in_transformers(model: list[str], trainer: Trainer, polytrain: Call) -> None:
    transformers = pytest.importorskip("transformers")
    trainer.train(*_SHORT, *model, ranks=0)
    run, exported = trainer.folder / "run", trainer.folder / "exported"
    _ok(polytrain("export", str(run), str(exported)))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(exported).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    text = "def main(argv):\n    return asyncio.run(argv)\n"
    tokens = torch.tensor([tokenizer(text)["input_ids"]])
    assert tokenizer.decode(tokens[0]) == text
    ours = TrainedModel.of_run(run)
    assert ours.writer().encode(text) == tokens[0].tolist()
    with torch.no_grad():
        expected = ours.objective.logits(tokens)
        found = theirs(tokens).logits
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    generated = theirs.generate(tokens[:, :5], max_new_tokens=8, do_sample=False)
    prompt = tokenizer.decode(tokens[0, :5])
    (written,) = ours.writer().continue_texts([prompt], 8, Sampling(temperature=0), 0)
    assert tokenizer.decode(generated[0, 5:]) == written


def test_generate_continues_the_prompt_and_repeats_itself_exactly(trainer: Trainer, polytrain: Call) -> None:
    trainer.train(*_SHORT, ranks=0)
    run = str(trainer.folder / "run")
    first = _ok(polytrain("generate", run, "import ", "--tokens", "5", "--seed", "3"))
    assert first.startswith("import ")
    assert _ok(polytrain("generate", run, "import ", "--tokens", "5", "--seed", "3")) == first
    assert _ok(polytrain("generate", run, "", "--tokens", "5", "--step", "2"))
    both = _ok(polytrain("generate", run, "a longer prompt", "import ", "--tokens", "5", "--seed", "3", "--json"))
    texts = {row["prompt"]: row["text"] for row in json.loads(both)}
    assert "import " + texts["import "] == first.removesuffix("\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["export", "nowhere", "out"], "not a run folder"),
        (["import", "nowhere", "out"], "nowhere: not a folder"),
        (["generate", "nowhere", "x"], "not a run folder"),
        (["generate", "nowhere", "x", "--tokens", "0"], "--tokens 0"),
        (["generate", "nowhere", "x", "--min-p", "2"], "--min-p 2"),
        (["index", "nowhere.tar"], "nowhere.tar"),
        (["check", "nowhere.yaml"], "nowhere.yaml"),
        (
            ["pack", "text", "stdlib", "out", "--validation", "1.5"],
            "less than 1, found 1.5",
        ),
        (["pack", "text", "stdlib", "out", "--vocab-size", "10"], "--vocab-size 10"),
    ],
)
def test_wrong_arguments_give_one_message(arguments: list[str], expected: str, polytrain: Call, tmp_path: Path) -> None:
    done = polytrain(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_called_data_does_not_get_in_the_way(polytrain: Call, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "model").mkdir()
    assert "polytrain" in _ok(polytrain("--version"))
    assert polytrain("check", "nowhere.yaml").returncode == 2
