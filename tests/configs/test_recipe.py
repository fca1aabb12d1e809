from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.recipe import find_recipe, load_tree, merge, parse_overrides


def write(folder: Path, **files: str) -> Path:
    """Writes the files and returns the path of the last."""
    for name, content in files.items():
        path = folder / f"{name}.yaml"
        path.write_text(content)
    return path


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_tree(path, overrides)
    return str(caught.value)


# Merging


def test_mappings_merge_and_anything_else_replaces() -> None:
    lower = {"a": {"x": 1, "y": [1, 2]}, "b": 1, "c": {"z": 1}}
    upper = {"a": {"y": [3]}, "b": {"w": 1}, "c": None}
    assert merge(lower, upper) == {"a": {"x": 1, "y": [3]}, "b": {"w": 1}, "c": None}


def test_merging_changes_neither_argument() -> None:
    lower, upper = {"a": {"x": 1}}, {"a": {"y": 2}}
    merge(lower, upper)["a"]["z"] = 3
    assert (lower, upper) == ({"a": {"x": 1}}, {"a": {"y": 2}})


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ({"kind": "deepspeed", "zero": 3}, {"kind": "accelerate"}, {"kind": "accelerate"}),
        ({"kind": "deepspeed", "zero": 3}, {"kind": "deepspeed"}, {"kind": "deepspeed", "zero": 3}),
        ({"kind": "deepspeed", "zero": 3}, {"zero": 1}, {"kind": "deepspeed", "zero": 1}),
        # Below, the default kind is meant, which cannot be known here.
        ({"lr": 1}, {"kind": "adamw"}, {"kind": "adamw", "lr": 1}),
    ],
)
def test_another_kind_starts_afresh(lower: dict, upper: dict, expected: dict) -> None:
    assert merge({"engine": lower}, {"engine": upper}) == {"engine": expected}


def test_null_takes_a_mapping_with_a_kind_away() -> None:
    lower = {"probes": {"loss": {"kind": "loss"}, "sample": {"kind": "sample"}}, "log": {"every": 10}}
    assert merge(lower, {"probes": {"sample": None}}) == lower | {"probes": {"loss": {"kind": "loss"}}}
    # What is not there, or is no such mapping, stays to be refused by name where null means nothing.
    assert merge(lower, {"probes": {"typo": None}})["probes"]["typo"] is None
    assert merge(lower, {"log": None}) == lower | {"log": None}


trees = st.recursive(
    st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "kind"]), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from(["a", "b", "c"]), trees, max_size=3)


@given(tree=mappings)
def test_merging_nothing_changes_nothing(tree: dict) -> None:
    assert merge(tree, {}) == tree
    assert merge({}, tree) == tree
    assert merge(tree, tree) == tree


# Files and bases


def test_precedence_is_bases_in_order_then_the_recipe_then_overrides(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        first="a: first\nb: first\nc: first\nd: first\n",
        second="b: second\nc: second\nd: second\n",
        recipe="base: [first.yaml, second.yaml]\nc: recipe\nd: recipe\n",
    )
    assert load_tree(path, ["d=override"]) == {"a": "first", "b": "second", "c": "recipe", "d": "override"}


def test_one_base_may_be_a_plain_name_and_have_a_base_in_another_folder(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts", deepest="a: 1\nb: 1\n", deep="base: deepest.yaml\nb: 2\n")
    assert load_tree(write(tmp_path, recipe="base: parts/deep.yaml\nc: 3\n")) == {"a": 1, "b": 2, "c": 3}


def test_two_bases_may_share_one(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        shared="a: 1\n",
        left="base: shared.yaml\nb: 2\n",
        right="base: shared.yaml\nc: 3\n",
        recipe="base: [left.yaml, right.yaml]\n",
    )
    assert load_tree(path) == {"a": 1, "b": 2, "c": 3}


def test_a_circular_base_is_refused_with_the_chain(tmp_path: Path) -> None:
    path = write(tmp_path, b="base: a.yaml\n", a="base: b.yaml\n")
    message = refused(path)
    assert "refers back to itself" in message
    assert message.index("a.yaml -> ") < message.index("b.yaml -> ")


def test_a_recipe_that_is_its_own_base_is_refused(tmp_path: Path) -> None:
    assert "refers back to itself" in refused(write(tmp_path, a="base: ./a.yaml\n"))


def test_a_missing_base_is_named_with_the_file_that_asks_for_it(tmp_path: Path) -> None:
    message = refused(write(tmp_path, recipe="base: gone.yaml\n"))
    assert "recipe.yaml: base: no such file" in message
    assert str(tmp_path / "gone.yaml") in message


@pytest.mark.parametrize("base", ["5", "null", "{a: b}", "[1]", "[[a.yaml]]"])
def test_a_base_that_is_no_name_is_refused(tmp_path: Path, base: str) -> None:
    assert "expected a file name or a list of them" in refused(write(tmp_path, recipe=f"base: {base}\na: 1\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("{}", "empty"),
        ("- a\n- b\n", "expected a mapping"),
        ("17\n", "recipe.yaml"),
        ("a: [1, 2\n", "not valid YAML"),
        ("a: 1\na: 2\n", "not valid YAML.*duplicate key a"),
        ("a:\n  b: 1\n  b: 2\n", "not valid YAML.*duplicate key b"),
        ("a: !!python/object:os.system x\n", "not valid YAML"),
        ("a: \x07\n", "not valid YAML"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path, recipe=content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_tree(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"a: caf\xe9\n")
    assert f"{path}: cannot be read" in refused(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'gone.yaml'}: no such recipe" in refused(tmp_path / "gone.yaml")
    assert "no such recipe" in refused(tmp_path)


def test_packaged_recipes_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("configs/quickstart.yaml").is_file()
    with pytest.raises(ConfigError):
        find_recipe("quickstart.yaml")


def test_a_recipe_in_the_working_folder_comes_before_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    write(tmp_path / "configs", quickstart="mine: true\n")
    assert load_tree("configs/quickstart.yaml") == {"mine": True}


# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("2.0e-3", 2e-3), ("1E5", 1e5), ("10", 10), ("true", True), ("null", None)],
)
def test_numbers_are_numbers_in_files_and_overrides(tmp_path: Path, text: str, value: object) -> None:
    path = write(tmp_path, recipe=f"a: {text}\nb: 0\n")
    tree = load_tree(path, [f"b={text}"])
    assert tree == {"a": value, "b": value}
    assert type(tree["a"]) is type(tree["b"]) is type(value)


def test_interpolation_refers_to_the_final_value_of_another_key(tmp_path: Path) -> None:
    path = write(tmp_path, recipe="train: {steps: 10}\nschedule: {steps: '${train.steps}', warmup: 1}\n")
    assert load_tree(path)["schedule"]["steps"] == 10
    assert load_tree(path, ["train.steps=20"])["schedule"]["steps"] == 20
    assert load_tree(path, ["schedule.warmup=${train.steps}"])["schedule"]["warmup"] == 10


def test_interpolation_reads_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    assert load_tree(write(tmp_path, recipe="run: ${oc.env:SCRATCH}/run\n")) == {"run": "/scratch/me/run"}


@pytest.mark.parametrize("value", ["${nowhere}", "${oc.env:POLYTRAIN_NOT_SET}", "${a}", "${", "${no_such:1}"])
def test_an_unresolvable_interpolation_is_refused_with_the_file(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, recipe=f"a: '{value}'\n")
    assert str(path) in refused(path)


# Overrides


def test_overrides_build_a_tree() -> None:
    found = parse_overrides(["train.steps=10", "data.shards=[a.tar, b.tar]", "run=x=y", "engine.config.a.b={c: 1}"])
    assert found == {
        "train": {"steps": 10},
        "data": {"shards": ["a.tar", "b.tar"]},
        "run": "x=y",
        "engine": {"config": {"a": {"b": {"c": 1}}}},
    }


def test_the_order_of_overrides_does_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path, recipe="engine: {kind: deepspeed, zero: 3, offload: all}\ntrain: {steps: 1}\n")
    overrides = ["engine.kind=mine", "engine.size=2", "train.steps=7"]
    found = [load_tree(path, order) for order in itertools.permutations(overrides)]
    assert found == [{"engine": {"kind": "mine", "size": 2}, "train": {"steps": 7}}] * 6


def test_an_override_of_the_kind_drops_the_keys_of_the_other(tmp_path: Path) -> None:
    path = write(tmp_path, recipe="engine: {kind: deepspeed, zero: 3}\n")
    assert load_tree(path, ["engine.kind=accelerate"]) == {"engine": {"kind": "accelerate"}}


def test_of_one_key_given_twice_the_last_value_holds() -> None:
    assert parse_overrides(["a.b=1", "a.b=2"]) == {"a": {"b": 2}}


@pytest.mark.parametrize("overrides", [["a=1", "a.b=2"], ["a.b=2", "a=1"], ["a={c: 1}", "x=1", "a.b.c=2"]])
def test_overrides_of_a_key_and_of_its_part_are_refused(overrides: list[str]) -> None:
    # One of the two would be dropped without a word, and which one would depend on their order.
    with pytest.raises(ConfigError, match="set the same key"):
        parse_overrides(overrides)


@pytest.mark.parametrize("item", ["train.steps", "=5", "", "train..steps=5", ".steps=5", "train.=5"])
def test_an_override_without_key_or_value_is_quoted(item: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_overrides(["run=x", item])
    assert f"override '{item}': expected dotted.key=value" in str(caught.value)


@pytest.mark.parametrize("item", ["a=[1, 2", "a={b: 1", "a=${", "a=\t"])
def test_an_override_with_a_malformed_value_is_quoted(item: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_overrides([item])
    assert repr(item) in str(caught.value)


@given(key=st.text(max_size=8), value=st.text(max_size=12))
def test_any_override_is_read_or_refused(key: str, value: str) -> None:
    try:
        tree = parse_overrides([f"{key}={value}"])
    except ConfigError:
        return
    assert len(tree) == 1
