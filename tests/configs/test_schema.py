from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.options import Options
from configs.schema import json_schema
from train.recipe import Recipe
from train.reproduce.paper import Paper

CONFIGS = Path(__file__).parents[2] / "configs"
PAPERS = sorted((CONFIGS / "papers").glob("*.yaml"))
RECIPES = sorted({*CONFIGS.rglob("*.yaml")} - {*PAPERS})


@pytest.mark.parametrize(("name", "options"), [("recipe", Recipe), ("paper", Paper)])
def test_the_schema_files_are_those_of_the_options(name: str, options: type[Options]) -> None:
    stored = (CONFIGS / f"{name}.schema.json").read_text()
    assert stored == json_schema(options), f"regenerate it: polytrain schema {name} > configs/{name}.schema.json"


def test_the_schema_text_is_deterministic() -> None:
    assert json_schema(Recipe) == json_schema(Recipe)


def test_keys_have_yaml_names_and_descriptions() -> None:
    definitions = json.loads(json_schema(Recipe))["$defs"]
    rows = definitions["BatchOptions"]["properties"]["global"]
    assert "Rows per optimizer step" in rows["description"]
    undocumented = [
        f"{name}.{key}"
        for name, definition in definitions.items()
        for key, field in definition.get("properties", {}).items()
        if key != "kind" and "description" not in field
    ]
    assert undocumented == []


def test_only_files_have_the_key_base() -> None:
    schema = json.loads(json_schema(Recipe))
    assert "base" in schema["properties"]
    assert "base" not in Recipe.model_fields
    # With bases, no single file has to be complete.
    assert "required" not in schema


def check(recipe: dict[str, Any]) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(json_schema(Recipe)))
    return [error.message for error in validator.iter_errors(recipe)]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_shipped_recipe_follows_the_schema(path: Path) -> None:
    assert check(yaml.safe_load(path.read_text())) == []


def test_a_misspelt_key_does_not_follow_the_schema() -> None:
    assert check({"trian": {"steps": 3}})
