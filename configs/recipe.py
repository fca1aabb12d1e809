"""YAML + bases + overrides -> one resolved tree of plain mappings.

Precedence: `base:` files in their order < the recipe < `key=value` overrides. Mappings merge key
by key; anything else replaces. A mapping whose `kind` changes starts afresh, because keys of one
kind mean nothing to another; null takes such a mapping away (`probes.sample=null`).
`${train.steps}` refers to another key, `${oc.env:SCRATCH}` to the process environment (OmegaConf's
interpolation).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from configs.errors import ConfigError

Tree = dict[str, Any]

_PACKAGED_RECIPES = Path(__file__).parent


def load_tree(path: str | Path, overrides: Sequence[str] = ()) -> Tree:
    """Read a recipe with its bases, apply overrides, resolve interpolations.

    Args:
        path: a YAML file; `configs/...` is also found in the installed package.
        overrides: `dotted.key=value` items; the value is read as YAML.

    Raises:
        ConfigError: for a missing, empty or malformed file, a circular base, a bad override.
    """
    tree = merge(_read_with_bases(find_recipe(path), ()), parse_overrides(overrides))
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: cannot resolve an interpolation: {_first_line(error)}") from None
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def find_recipe(path: str | Path) -> Path:
    """The file that `path` names: as given, or among the recipes installed with the package."""
    given = Path(path)
    packaged = _PACKAGED_RECIPES.parent / given
    for candidate in (given, packaged if given.parts[:1] == ("configs",) else given):
        if candidate.is_file():
            return candidate
    raise ConfigError(f"{path}: no such recipe. Give the path of a YAML file, such as configs/quickstart.yaml.")


def merge(lower: Tree, upper: Tree) -> Tree:
    """`upper` over `lower`; neither is changed."""
    if "kind" in upper and upper["kind"] != lower.get("kind", upper["kind"]):
        return dict(upper)
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if value is None and isinstance(below, dict) and "kind" in below:
            del merged[key]
        else:
            merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def parse_overrides(overrides: Sequence[str]) -> Tree:
    """`["train.steps=10", "engine.kind=deepspeed"]` as one nested tree.

    Order does not matter, except that of one key given twice the last value holds.
    """
    keys = []
    for item in overrides:
        key, equals, _ = item.partition("=")
        if not equals or not key or any(not part for part in key.split(".")):
            raise ConfigError(f"override '{item}': expected dotted.key=value, such as train.steps=1000.")
        keys.append(key)
    for whole, part in itertools.permutations(keys, 2):
        if part.startswith(f"{whole}."):
            raise ConfigError(f"overrides '{whole}=' and '{part}=' set the same key; write them as one.")
    try:
        return _plain(OmegaConf.from_dotlist(list(overrides)))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"overrides {list(overrides)}: {_first_line(error)}") from None


def _read_with_bases(path: Path, above: tuple[Path, ...]) -> Tree:
    if path.resolve() in above:
        chain = " -> ".join(str(item) for item in (*above, path))
        raise ConfigError(f"{path}: 'base' refers back to itself: {chain}")
    tree = _read_yaml(path)
    bases = tree.pop("base", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not (isinstance(bases, list) and all(isinstance(item, str) for item in bases)):
        raise ConfigError(f"{path}: base: expected a file name or a list of them, found {bases!r}")
    merged: Tree = {}
    for base in bases:
        base_path = path.parent / base
        if not base_path.is_file():
            raise ConfigError(f"{path}: base: no such file: {base_path} (names are relative to the recipe's folder)")
        merged = merge(merged, _read_with_bases(base_path, (*above, path.resolve())))
    return merge(merged, tree)


def _read_yaml(path: Path) -> Tree:
    try:
        # OmegaConf's loader refuses duplicate keys and reads 1e-3 as a number.
        content = OmegaConf.load(path)
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if not OmegaConf.is_dict(content):
        raise ConfigError(f"{path}: expected a mapping of keys at the top level.")
    tree = _plain(content)
    if not tree:
        raise ConfigError(f"{path}: the recipe is empty.")
    return tree


def _plain(config: Any) -> Tree:
    container = OmegaConf.to_container(config, resolve=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
