"""What a paper may say, and what it says back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.errors import ConfigError
from train.recipe import load_recipe
from train.reproduce.paper import Figure, load_paper, papers
from train.reproduce.runs import Run, figure_of, runs_of

CLAIM: dict[str, Any] = {"figure": "loss", "arm": "wide", "baseline": "plain", "at_most": 0}
PAPER: dict[str, Any] = {
    "title": "A Claim",
    "authors": "Nobody",
    "year": 2026,
    "url": "https://example.org",
    "claim": "It is better.",
    "recipe": "configs/quickstart.yaml",
    "arms": {"plain": [], "wide": ["model.hidden_dim=1024"]},
    "figures": {"loss": {"probe": "validation", "key": "loss"}},
    "comparisons": [CLAIM],
    "minutes": 1,
}


def written(folder: Path, **changes: Any) -> str:
    path = folder / "paper.yaml"
    path.write_text(yaml.safe_dump(PAPER | changes))
    return str(path)


@pytest.mark.parametrize("name", papers())
def test_shipped_papers_are_runs_of_valid_recipes(name: str, tmp_path: Path) -> None:
    paper = load_paper(name)
    runs = runs_of(paper, tmp_path, seeds=paper.seeds, arms=list(paper.arms))
    assert len(runs) == len(paper.seeds) * len(paper.arms)
    assert len({run.folder for run in runs}) == len(runs)
    assert all(run.recipe.seed == run.seed and run.recipe.run == str(run.folder) for run in runs)
    for figure in paper.figures.values():
        assert figure.probe is None or all(figure.probe in run.recipe.probes for run in runs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arm": {}}, "arm: unknown key; did you mean 'arms'"),
        ({"comparisons": [{"figure": "loss", "arm": "wid", "baseline": "plain", "at_most": 0}]}, "did you mean 'wide'"),
        (
            {"comparisons": [{"figure": "los", "arm": "wide", "baseline": "plain", "at_most": 0}]},
            "unknown figure 'los'",
        ),
        ({"comparisons": [{"figure": "loss", "arm": "wide", "baseline": "plain"}]}, "at_most, at_least"),
        ({"comparisons": [PAPER["comparisons"][0] | {"by": "gap"}]}, "reference: a gap has one"),
        ({"seeds": []}, "seeds"),
    ],
)
def test_mistakes_in_a_paper_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_paper(written(tmp_path, **changes))
    assert message in str(error.value)


def test_an_empty_file_and_an_unknown_name(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(ConfigError, match=r"empty.yaml: .* empty"):
        load_paper(str(tmp_path / "empty.yaml"))
    with pytest.raises(ConfigError, match="glux: no such paper; did you mean 'glu'"):
        load_paper("glux")


def test_an_arm_that_is_no_recipe_is_named(tmp_path: Path) -> None:
    paper = load_paper(written(tmp_path, arms={"plain": [], "wide": ["model.hidden_dims=1024"]}))
    with pytest.raises(ConfigError, match=r"arm wide: (?s:.*)did you mean 'hidden_dim'"):
        runs_of(paper, tmp_path, seeds=[0], arms=["plain", "wide"])


def test_runs_of_a_paper_that_was_changed_are_refused(tmp_path: Path) -> None:
    paper = load_paper(written(tmp_path))
    (run,) = runs_of(paper, tmp_path, seeds=[0], arms=["wide"])
    run.folder.mkdir()
    (run.folder / "config.yaml").write_text(run.recipe.yaml())
    runs_of(paper, tmp_path, seeds=[0], arms=["wide"])
    older = "\n".join(line for line in run.recipe.yaml().splitlines() if "saved_bytes" not in line)
    (run.folder / "config.yaml").write_text(older)  # by a version that did not know the key
    runs_of(paper, tmp_path, seeds=[0], arms=["wide"])
    changed = load_paper(written(tmp_path, arms={"plain": [], "wide": ["model.hidden_dim=2048"]}))
    with pytest.raises(ConfigError, match=r"trained by another recipe \(model.hidden_dim: 1024 there, 2048 here\)"):
        runs_of(changed, tmp_path, seeds=[0], arms=["wide"])


def run_with(folder: Path, rows: list[dict[str, Any]]) -> Run:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = load_recipe("configs/quickstart.yaml")
    return Run("plain", 0, "configs/quickstart.yaml", (), folder, recipe)


def test_figures_are_the_last_rows_that_have_them(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"step": step, "loss": 10.0 - step, "mfu": None} for step in range(1, 6)]
    rows += [{"step": 5, "probe": "validation", "loss": 4.5}, {"step": 5, "probe": "sample", "text": "x"}]
    run = run_with(tmp_path, rows)
    assert figure_of(run, "loss", Figure(key="loss", probe="validation")) == 4.5
    assert figure_of(run, "train", Figure(key="loss", last=3)) == 6.0
    with pytest.raises(ConfigError, match=r"figures.speed: 'mfu' of training steps .* has loss, step"):
        figure_of(run, "speed", Figure(key="mfu"))
    with pytest.raises(ConfigError, match=r"figures.x: 'loss' of probe nothing .* has no rows"):
        figure_of(run, "x", Figure(key="loss", probe="nothing"))


def test_an_arm_may_have_a_recipe_of_its_own_and_a_figure_be_of_some_arms(tmp_path: Path) -> None:
    own = {"recipe": "configs/tabular/pfn.yaml", "overrides": ["train.steps=3"]}
    tables = {"tables": {"key": "loss", "arms": ["tables"]}}
    paper = load_paper(written(tmp_path, arms=PAPER["arms"] | {"tables": own}, figures=PAPER["figures"] | tables))
    (run,) = runs_of(paper, tmp_path, seeds=[1], arms=["tables"])
    assert (run.base, run.recipe.train.steps, run.recipe.seed) == ("configs/tabular/pfn.yaml", 3, 1)
    assert paper.arms_of("tables") == ["tables"]
    assert set(paper.arms_of("loss")) == {"plain", "wide", "tables"}


def test_a_figure_of_arms_that_there_are_not_or_that_a_comparison_wants(tmp_path: Path) -> None:
    for arms, message in ((["plane"], "did you mean 'plain'"), (["plain"], "leaves out 'wide'")):
        with pytest.raises(ConfigError, match=message):
            load_paper(written(tmp_path, figures={"loss": PAPER["figures"]["loss"] | {"arms": arms}}))
