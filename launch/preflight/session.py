"""The course of a preflight.

In shares of the time limit, at the latest (whoever is done earlier goes on earlier):

    0      every node connects to node 0, looks at itself, and reports
    1/2    node 0 waits for reports no longer and says who goes on: those compare file systems, clocks, and the network
    4/5    no further pairs begin
    1      node 0 has said what is wrong, and all leave with the same exit code
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from launch.preflight.exchange import Exchange, NotReached
from launch.preflight.judge import judge
from launch.preflight.limits import Limit
from launch.preflight.look import look_at_each_other, look_at_this_node
from launch.preflight.place import Place
from launch.preflight.report import plain
from launch.preflight.table import as_text, as_tree
from launch.preflight.verdict import Verdict

_SECONDS_TO_LEAVE = 5.0

# How long the store outlives the nodes: processes that make no checks (local rank 1, ...) read the verdict, too.
_SECONDS_FOR_OTHERS = 1.0


def attend(arguments: argparse.Namespace, place: Place, limit: Limit) -> bool:
    """Take part as this node; node 0 prints. Returns whether something failed, on whichever node."""
    try:
        exchange = Exchange(place, limit)
        if place.local_rank:
            return _verdict_of_node_0(exchange, limit)
        return _look(arguments, place, exchange, limit)
    except NotReached as error:
        print(f"polytrain preflight: {error}", file=sys.stderr, flush=True)
        return True


def _look(arguments: argparse.Namespace, place: Place, exchange: Exchange, limit: Limit) -> bool:
    exchange.put("host", socket.gethostname())
    results, recipe = look_at_this_node(arguments, place, limit)
    exchange.put("report", plain(results))
    reports: dict[int, Any] = {}
    if place.rank == 0:
        reports = exchange.take_all("report", range(place.count), limit.left(0.5))
        exchange.put("members", {"all": list(reports), "with recipe": with_recipe(reports)})
    members = exchange.take("members", 0, limit.left()) or {"all": []}
    if place.rank not in members["all"]:
        name = place.name(place.rank)
        print(f"polytrain preflight: {name} was too late: node 0 did not wait for its report", file=sys.stderr)
        return True
    outcome = look_at_each_other(exchange, members, recipe, limit)
    exchange.put("outcome", outcome)
    if place.rank:
        return _verdict_of_node_0(exchange, limit)
    outcomes = exchange.take_all("outcome", members["all"], limit.left(0.95))
    verdict = judge(place, _names(place, exchange), reports, outcomes)
    _print(verdict, reports, outcomes, limit, as_json=arguments.json)
    exchange.put("verdict", verdict.has_failed)
    # The store ends with this process.
    exchange.take_all("left", [rank for rank in members["all"] if rank], _SECONDS_TO_LEAVE)
    if place.count > 1:
        time.sleep(_SECONDS_FOR_OTHERS)
    return verdict.has_failed


def with_recipe(reports: Mapping[int, Any]) -> list[int]:
    """The nodes that could read the recipe, if node 0, who leads, is one, and there are others."""
    able = [rank for rank, report in reports.items() if report.get("recipe", {}).get("facts")]
    return able if able[:1] == [0] and len(able) > 1 else []


def _names(place: Place, exchange: Exchange) -> list[str]:
    """As the launcher calls them, else their own host names; two nodes of one name get their rank behind it."""
    hosts = exchange.take_all("host", range(place.count), 0)
    names = list(place.names) or [hosts.get(rank, place.name(rank)) for rank in range(place.count)]
    return [f"{name}#{rank}" if names.count(name) > 1 else name for rank, name in enumerate(names)]


def _verdict_of_node_0(exchange: Exchange, limit: Limit) -> bool:
    has_failed = exchange.take("verdict", 0, limit.left() + _SECONDS_TO_LEAVE)
    exchange.put("left", True)
    return has_failed is not False


def _print(
    verdict: Verdict, reports: Mapping[int, Any], outcomes: Mapping[int, Any], limit: Limit, *, as_json: bool
) -> None:
    if as_json:
        details = {rank: {"alone": report, "together": outcomes.get(rank)} for rank, report in reports.items()}
        print(json.dumps(as_tree(verdict, details), indent=2), flush=True)
    else:
        print(as_text(verdict, limit.seconds - limit.left()), flush=True)
