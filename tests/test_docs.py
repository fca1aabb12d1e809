"""What the documents say is so."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import yaml

from configs.options import Part, validate
from configs.recipe import load_tree, merge
from data.packing.kinds import AnyPack
from data.sources import AnySource, DataOptions
from launch.cli import main
from model.options import TransformerOptions
from model.surgery.options import AnyEdit
from tests.train.metrics_page import documented_keys
from train.recipe import Recipe, load_recipe
from train.tracker_options import AnyTracker

ROOT = Path(__file__).parents[1]
RECIPES = [path for path in sorted((ROOT / "configs").rglob("*.yaml")) if path.parent.name != "papers"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_recipe_is_valid(recipe: Path) -> None:
    assert load_recipe(recipe).train.steps > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_path_and_target_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake (\w+)", text)) <= targets
    for name in re.findall(r"`((?:configs|data|model|train|launch|tests|docs|benchmarks)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_polytrain_command_that_a_page_shows_is_one(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"^    (\w+)\b", capsys.readouterr().out, re.M))
    assert set(re.findall(r"\bpolytrain (?!is\b|to\b)([a-z]+)\b", _code_of(page.read_text()))) <= known


def _code_of(markdown: str) -> str:
    return "\n".join(re.findall(r"```.*?```|`[^`]+`", markdown, re.S))


@pytest.mark.parametrize(
    "block", re.findall(r"```yaml\n(data:\n.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL)
)
def test_every_recipe_of_the_data_page_is_valid(block: str) -> None:
    validate(DataOptions, yaml.safe_load(block)["data"], "docs/data.md")


@pytest.mark.parametrize(
    "block", re.findall(r"```yaml\n(model:\n.*?)```", (ROOT / "docs/model.md").read_text(), re.DOTALL)
)
def test_every_model_of_the_model_page_is_one(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "my_package.means", SimpleNamespace(CausalMean=_AnyMixer))
    validate(TransformerOptions, yaml.safe_load(block)["model"], "docs/model.md")


class _AnyMixer:
    class Options(Part):
        pass


@pytest.mark.parametrize(
    "block", re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/surgery.md").read_text(), re.DOTALL), ids=["tune", "grow"]
)
def test_every_recipe_of_the_surgery_page_is_valid(block: str) -> None:
    tree = merge(load_tree(ROOT / "configs/quickstart.yaml"), yaml.safe_load(block))
    assert validate(Recipe, tree, "docs/surgery.md").tree()["surgery"]


def test_every_edit_is_on_the_surgery_page() -> None:
    page = (ROOT / "docs/surgery.md").read_text()
    for options in get_args(get_args(AnyEdit)[0]):
        assert f"`{options.model_fields['kind'].default}`" in page


def test_every_kind_of_source_and_corpus_is_on_the_data_page() -> None:
    page = (ROOT / "docs/data.md").read_text()
    sources = get_args(get_args(AnySource)[0])
    for options in (*sources, *get_args(AnyPack)):
        kind = options.model_fields["kind"].default
        assert f"`{kind}`" in page or f"polytrain pack {kind} " in page, kind


def test_the_metrics_page_and_the_docstring_list_the_same_keys() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.M)
    assert [key for row in rows for key in re.findall(r"`(\w+)`", row)] == documented_keys()


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/metrics.md").read_text(), re.DOTALL))
def test_every_recipe_of_the_metrics_page_is_valid(block: str) -> None:
    tree = merge(load_tree(ROOT / "configs/quickstart.yaml"), yaml.safe_load(block))
    assert validate(Recipe, tree, "docs/metrics.md").tree()["log"]


def test_every_tracker_is_on_the_metrics_page() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    for options in get_args(get_args(AnyTracker)[0]):
        assert f"`{options.model_fields['kind'].default}`" in page
