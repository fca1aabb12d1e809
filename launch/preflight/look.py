"""Every check in its order: what a node finds by itself, then what nodes find together."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch._C._distributed_c10d import PrefixStore

from launch.preflight import clock, network
from launch.preflight.data import readable
from launch.preflight.devices import devices, has_driver, health
from launch.preflight.exchange import Exchange
from launch.preflight.limits import Limit
from launch.preflight.place import Place
from launch.preflight.recipe import Examined, examine
from launch.preflight.report import Result, checked, plain
from launch.preflight.shared import shared
from launch.preflight.space import space
from launch.preflight.versions import system, versions
from train.recipe import Recipe

# How long a meeting of two nodes may take, as a share of the whole.
_PAIR_SHARE = 1 / 12


def look_at_this_node(
    arguments: argparse.Namespace, place: Place, limit: Limit
) -> tuple[dict[str, Result], Recipe | None]:
    """The checks that need no other node, each with a limit of its own, and the recipe if it is one."""

    def seconds() -> float:
        return min(limit.left(0.4), limit.seconds / 4)

    found = {"versions": checked(versions, seconds()), "system": checked(system, seconds())}
    found["devices"] = checked(devices, seconds())
    if has_driver():
        found["health"] = checked(health, seconds())
    examined = Examined(Result())
    if arguments.recipe is not None:
        ranks = arguments.ranks_per_node or place.ranks_per_node or torch.cuda.device_count() or 1

        def read() -> Result:
            nonlocal examined
            examined = examine(arguments.recipe, arguments.overrides, ranks * place.count)
            return examined.result

        found["recipe"] = checked(read, seconds())
    recipe, row_bytes = examined.recipe, 0
    if recipe is not None:
        found["data"] = checked(lambda: readable(recipe), seconds())
        row_bytes = found["data"].figures.get("bytes per row", 0)
    found["space"] = checked(lambda: space(recipe, examined.parameters, row_bytes, place.count), seconds())
    return found, recipe


def look_at_each_other(
    exchange: Exchange, members: Mapping[str, list[int]], recipe: Recipe | None, limit: Limit
) -> dict[str, Any]:
    """The checks that nodes make together: {"results": {check: Result}, "pairs": ..., "all": ...}."""
    nodes, sharing = members["all"], members["with recipe"]
    if len(nodes) == 1:
        return {"results": {}}
    if exchange.rank == 0:
        clock.answer_all(exchange, nodes)
    found = {"clock": checked(lambda: clock.skew(exchange, limit.left(0.6)), limit.left(0.6))}
    if recipe is not None and exchange.rank in sharing:
        found["shared"] = checked(lambda: shared(exchange, sharing, Path(recipe.run), limit.left(0.7)), limit.left(0.7))
    pair_seconds = max(1.0, _PAIR_SHARE * limit.seconds)
    met = network.meet_all(exchange, nodes, pair_seconds, limit)
    exchange.put("missed", [rank for rank, outcome in met.items() if "error" in outcome])
    if exchange.rank == 0:
        # A broken pair is named already, and would only break what all do together.
        exchange.put("together", network.without_broken_pairs(exchange.take_all("missed", nodes, limit.left(0.85))))
    together = exchange.take("together", 0, limit.left(0.9)) or []
    outcome: dict[str, Any] = {"results": plain(found), "pairs": met}
    if exchange.rank in together and len(together) > 1:
        store = PrefixStore("all", exchange.connection())
        outcome["all"] = network.exercise(store, exchange.rank, together, min(pair_seconds, limit.left(0.9)))
    return outcome
