from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from configs.errors import ConfigError, UserError
from configs.options import Kind, Options, Part, construct, import_object, nearest, validate
from train.recipe import Recipe, load_recipe

REPOSITORY = Path(__file__).parents[2]
QUICKSTART = REPOSITORY / "configs/quickstart.yaml"


class Round(Part):
    kind: Literal["round"] = "round"
    radius: float = Field(gt=0)
    builds: ClassVar[str] = "decimal:Decimal"


class Square(Part):
    kind: Literal["square"] = "square"
    side: int = 1


class Drawing(Options):
    shape: Annotated[Round | Square, Kind(default="square")] = Square()
    frame: Annotated[Round | Square, Kind()] | None = None
    more: dict[str, Annotated[Round | Square, Kind()]] = Field(default_factory=dict)
    width: int = Field(default=4, gt=0)
    scale: float = 1.0
    title: str = ""


def problems(tree: dict[str, Any], options: type[Options] = Drawing) -> list[str]:
    """The lines below the headline of the message."""
    with pytest.raises(ConfigError) as caught:
        validate(options, tree, "drawing.yaml")
    headline, *lines = str(caught.value).splitlines()
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert headline == f"drawing.yaml: {count}"
    return [line.strip() for line in lines]


def drawing(**tree: Any) -> Drawing:
    found = validate(Drawing, tree, "drawing.yaml")
    assert isinstance(found, Drawing)
    return found


# Keys


def test_an_unknown_key_suggests_the_nearest() -> None:
    assert problems({"widht": 3}) == ["widht: unknown key; did you mean 'width'?"]


def test_an_unknown_key_like_no_other_lists_the_known() -> None:
    assert problems({"zzz": 3}) == ["zzz: unknown key; known: frame, more, scale, shape, title, width"]


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"shape": {"kind": "square", "sied": 3}}, "shape.sied"),
        ({"frame": {"kind": "square", "sied": 3}}, "frame.sied"),
        ({"more": {"first": {"kind": "square", "sied": 3}}}, "more.first.sied"),
    ],
)
def test_an_unknown_key_deep_down_has_a_dotted_path(tree: dict[str, Any], path: str) -> None:
    assert problems(tree) == [f"{path}: unknown key; did you mean 'side'?"]


def test_all_problems_are_reported_at_once() -> None:
    tree = {"widht": 3, "scale": "big", "shape": {"kind": "round", "raduis": 1}, "frame": {"kind": "squre"}}
    assert problems(tree) == [
        "shape.radius: this key is required",
        "shape.raduis: unknown key; did you mean 'radius'?",
        "frame: unknown kind 'squre'; did you mean 'square'?",
        "scale: input should be a valid number, found 'big'",
        "widht: unknown key; did you mean 'width'?",
    ]


@pytest.mark.parametrize("value", [10.5, 10.0, "ten", "10", True, None, [10], {"a": 1}, float("inf"), float("nan")])
def test_an_integer_is_an_integer(value: object) -> None:
    (line,) = problems({"width": value})
    assert line.startswith("width: ")
    assert line.endswith(f"found {value!r}")


@pytest.mark.parametrize("value", ["1.0", True, None, float("inf"), float("nan")])
def test_a_number_is_a_finite_number(value: object) -> None:
    (line,) = problems({"scale": value})
    assert line.startswith("scale: ")


def test_an_integer_will_do_for_a_number() -> None:
    assert drawing(scale=2).scale == 2.0


@pytest.mark.parametrize("value", [1, True, None, ["x"]])
def test_a_string_is_a_string(value: object) -> None:
    (line,) = problems({"title": value})
    assert line.startswith("title: ")


def test_a_bound_is_checked() -> None:
    assert problems({"width": 0}) == ["width: input should be greater than 0, found 0"]


def test_defaults_are_checked_too() -> None:
    class Wrong(Options):
        size: int = Field(default=0, gt=0)

    assert problems({}, Wrong) == ["size: input should be greater than 0, found 0"]


def test_options_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        drawing().width = 5  # type: ignore[misc]


def test_a_tree_describes_its_options_completely() -> None:
    one = drawing(shape={"kind": "round", "radius": 2.0}, more={"a": {"kind": "square", "side": 3}})
    assert one.tree()["shape"] == {"kind": "round", "radius": 2.0}
    assert drawing(**one.tree()) == one


# Kinds


def test_the_kind_picks_the_class() -> None:
    assert drawing(shape={"kind": "round", "radius": 1.0}).shape == Round(radius=1.0)


def test_without_kind_the_default_is_taken_where_there_is_one() -> None:
    assert drawing(shape={"side": 2}).shape == Square(side=2)
    assert problems({"frame": {"side": 2}}) == ["frame: the key 'kind' is missing; one of: round, square"]


def test_an_unknown_kind_suggests_the_nearest() -> None:
    assert problems({"shape": {"kind": "rond"}}) == ["shape: unknown kind 'rond'; did you mean 'round'?"]


@pytest.mark.parametrize("kind", [5, True, ["round"], {"round": 1}, "{brace}", "%s"])
def test_a_kind_of_any_other_type_is_unknown(kind: object) -> None:
    (line,) = problems({"more": {"first": {"kind": kind}}})
    assert line.startswith(f"more.first: unknown kind '{kind}'; ")


@pytest.mark.parametrize("value", [5, ["round"], [{"kind": "round"}]])
def test_a_part_is_a_mapping_and_the_value_found_is_quoted_as_it_is(value: object) -> None:
    # Nested, because each level hands the message on.
    assert problems({"more": {"first": value}}) == [
        f"more.first: expected a kind or a mapping with the key 'kind', found {value!r}"
    ]


def test_a_name_is_short_for_a_mapping_with_that_kind() -> None:
    assert problems({"more": {"first": "ruond"}}) == problems({"more": {"first": {"kind": "ruond"}}})


def test_nearest_prefers_a_suggestion_to_the_list() -> None:
    assert nearest("stpes", ["steps", "clip_norm"]) == "did you mean 'steps'?"
    assert nearest("qqq", ["steps", "clip_norm"]) == "known: clip_norm, steps"


# Parts of the user's own


@pytest.fixture
def their_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with a good part and several unsuitable ones."""
    name = f"theirs_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(
        "from pydantic import field_validator\n"
        "from pydantic_core import PydanticCustomError\n"
        "from configs.options import Options, Part\n"
        "class Star:\n"
        "    class Options(Part):\n"
        "        points: int = 5\n"
        "        @field_validator('points')\n"
        "        def odd(cls, value):\n"
        "            if value % 2 == 0:\n"
        "                raise PydanticCustomError('even_star', 'an even star {points}', {'points': value})\n"
        "            return value\n"
        "    def __init__(self, options, *args, **kwargs):\n"
        "        self.received = (options, args, kwargs)\n"
        "class Bare: pass\n"
        "class Wrong:\n"
        "    class Options(Options): pass\n"
        "class Text:\n"
        "    Options = 'text'\n"
    )
    (tmp_path / f"{name}_broken.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_part_of_the_users_own_is_checked_and_built(their_module: str) -> None:
    kind = f"{their_module}:Star"
    shape = drawing(shape={"kind": kind, "points": 7}).shape
    assert shape.tree() == {"kind": kind, "points": 7}
    built: Any = construct(shape, 1, two=2)
    assert type(built).__name__ == "Star"
    assert built.received == (shape, (1,), {"two": 2})


@pytest.mark.filterwarnings("error")
def test_a_part_of_the_users_own_survives_a_round_trip(their_module: str) -> None:
    one = drawing(shape={"kind": f"{their_module}:Star", "points": 7})
    assert drawing(**one.tree()) == one


def test_a_wrong_key_of_the_users_own_part_is_named(their_module: str) -> None:
    tree = {"shape": {"kind": f"{their_module}:Star", "ponits": 7}}
    assert problems(tree) == ["shape.ponits: unknown key; did you mean 'points'?"]


def test_a_check_of_the_users_own_part_is_reported_with_its_path(their_module: str) -> None:
    tree = {"more": {"a": {"kind": f"{their_module}:Star", "points": 6}}}
    assert problems(tree) == ["more.a.points: an even star 6, found 6"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("MODULE:Gone", "has no attribute 'Gone'"),
        ("MODULE_broken:Star", "No module named 'not_installed_anywhere'"),
        ("no_such_package.module:Star", "No module named 'no_such_package'"),
        ("MODULE:Bare", "needs a nested class Options"),
        ("MODULE:Wrong", "needs a nested class Options"),
        ("MODULE:Text", "needs a nested class Options"),
        ("MODULE:", "not the name of a class"),
        (":Star", "not the name of a class"),
        (".MODULE:Star", "not the name of a class"),
        ("MODULE:Star:Options", "not the name of a class"),
        ("https://example.org", "not the name of a class"),
    ],
)
def test_an_unsuitable_part_of_the_users_own_is_refused(their_module: str, kind: str, message: str) -> None:
    kind = kind.replace("MODULE", their_module)
    (line,) = problems({"shape": {"kind": kind}})
    assert line.startswith(f"shape: kind '{kind}': ")
    assert message in line


def test_construct_imports_what_the_part_names() -> None:
    class Text(Part):
        kind: Literal["text"] = "text"
        builds: ClassVar[str] = "builtins:repr"

    assert construct(Text()) == repr(Text())
    with pytest.raises(ConfigError, match="has no attribute"):
        import_object("builtins:no_such_name")


# Whole recipes


def test_the_users_own_part_in_a_recipe_is_built_by_the_recipe_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_lab.py").write_text(
        "from configs.options import Part\nclass Digits:\n    class Options(Part):\n        length: int\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    overrides = ["data.train.kind=their_lab:Digits", "data.train.length=64"]
    recipe = load_recipe(QUICKSTART, overrides)
    assert recipe.tree()["data"]["train"] == {"kind": "their_lab:Digits", "length": 64}
    with pytest.raises(ConfigError, match=r"data\.train\.length: this key is required"):
        load_recipe(QUICKSTART, overrides[:1])


def test_a_resolved_recipe_gives_the_same_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(QUICKSTART)
    (tmp_path / "resolved.yaml").write_text(recipe.yaml())
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


@pytest.mark.parametrize("value", ["10.5", "ten", "true", "0", "-1", "null", "'10'", "[10]"])
def test_a_recipe_refuses_steps_that_are_no_positive_integer(value: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.steps: "):
        load_recipe(QUICKSTART, [f"train.steps={value}"])


def test_another_engine_by_override_takes_none_of_the_keys_of_the_first() -> None:
    assert load_recipe(QUICKSTART).tree()["engine"]["kind"] == "deepspeed"
    recipe = load_recipe(QUICKSTART, ["engine.kind=accelerate"])
    assert recipe.tree()["engine"] == {"kind": "accelerate"}


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just("kind"), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths_of(tree: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in tree.items():
        found.append((*above, key))
        if isinstance(value, dict):
            found += paths_of(value, (*above, key))
    return found


QUICKSTART_TREE = yaml.safe_load(QUICKSTART.read_text())


@settings(max_examples=150, deadline=None)
@given(path=st.sampled_from(paths_of(QUICKSTART_TREE)), value=anything)
def test_any_value_at_any_key_is_accepted_or_refused_with_its_path(path: tuple[str, ...], value: object) -> None:
    tree = copy.deepcopy(QUICKSTART_TREE)
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        validate(Recipe, tree, "recipe")
    except ConfigError as error:
        lines = str(error).splitlines()[1:]
        # Checks that span sections have no path of their own.
        assert any(line.strip().startswith((path[0], "recipe")) for line in lines)


def test_a_recipe_is_checked_without_torch() -> None:
    code = (
        "import sys; from train.recipe import load_recipe; load_recipe('configs/quickstart.yaml');"
        "print([name for name in ('torch', 'deepspeed', 'tokenizers', 'webdataset') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_errors_for_users_are_value_errors() -> None:
    # pydantic turns them into one line of the message, and the command line prints them without a traceback.
    assert issubclass(ConfigError, UserError)
    assert issubclass(UserError, ValueError)
