"""`data/packing/datasets.yaml`: public data sets by name, with what it takes to pack them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field

from configs.errors import ConfigError
from configs.options import Kind, Options, nearest, validate
from configs.recipe import load_tree, merge, parse_overrides
from data.packing.kinds import AnyPack
from data.packing.options import PackOptions

_FILE = str(Path(__file__).with_name("datasets.yaml"))


class DatasetOptions(Options):
    """One data set."""

    about: str
    "What it is, in a line."
    modality: str
    "What its samples are."
    licence: str
    "Under which terms the package says it may be used."
    pack: Annotated[AnyPack, Kind()]
    "The options of `polytrain pack`."


class _Catalogue(Options):
    datasets: dict[str, DatasetOptions] = Field(min_length=1)


def catalogue() -> dict[str, DatasetOptions]:
    """Every data set by name."""
    found = cast(_Catalogue, validate(_Catalogue, {"datasets": load_tree(_FILE)}, _FILE))
    return found.datasets


def pack_options(name: str, overrides: Sequence[str] = ()) -> PackOptions:
    """How to pack the data set `name`; `overrides` are `key=value` items for its options.

    Raises:
        ConfigError: when there is no such data set, or an override does not fit.
    """
    tree = load_tree(_FILE)
    if name not in tree:
        raise ConfigError(f"no data set '{name}'; {nearest(name, tree)}. All of them: polytrain data list")
    entry = cast(dict[str, Any], tree[name])
    changed = {**entry, "pack": merge(entry["pack"], parse_overrides(overrides))}
    where = " ".join(["polytrain pack dataset", name, *overrides])
    return cast(DatasetOptions, validate(DatasetOptions, changed, where)).pack
