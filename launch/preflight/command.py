"""`polytrain preflight [RECIPE] [key=value ...]`: every node looks at itself and at the others.

In shares of the time limit, at the latest (whoever is done earlier goes on earlier):

    0      every node connects to node 0, looks at itself, and reports
    1/2    node 0 waits for reports no longer and says who goes on: those compare file systems, clocks, and the network
    4/5    no further pairs begin
    1      node 0 has said what is wrong, and all leave with the same exit code

Exit codes: 0 all nodes can train (there may be warnings), 3 something failed on some node, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError
from launch.preflight.limits import Limit
from launch.preflight.place import Place, find_place
from train.command import leave

if TYPE_CHECKING:
    from launch.preflight.exchange import Exchange
    from launch.preflight.report import Result
    from launch.preflight.verdict import Verdict
    from train.recipe import Recipe

EXIT_FAILED = 3

# Read when torch is imported and when groups are made.
_TORCH = {
    "TORCH_CPP_LOG_LEVEL": "FATAL",  # its warnings of nodes that do not answer would bury ours
    "TORCH_NCCL_BLOCKING_WAIT": "1",  # a node that does not answer is an error here, which would be the end of
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",  # the process otherwise
}

_GRACE_S = 10.0
_PAIR_SHARE = 1 / 12
_SECONDS_TO_LEAVE = 5.0

# How long the store outlives the nodes: processes that make no checks (local rank 1, ...) read the verdict, too.
_SECONDS_FOR_OTHERS = 1.0

_EXAMPLES = """\
examples:
  polytrain preflight                                          this machine
  polytrain preflight configs/quickstart.yaml                  and whether the recipe can be trained on it
  srun --ntasks-per-node=1 polytrain preflight RECIPE          every node of a SLURM job
  polytrain preflight RECIPE --nodes 4 --node-rank 2 --master node00:29400
                                                               by hand: this on node 2 of 4, and likewise on the others
  pdsh -w node[00-03] polytrain preflight RECIPE --nodes 4 --node-rank %n --master node00:29400
  NNODES=4 NODE_RANK=2 MASTER_ADDR=node00 MASTER_PORT=29400 polytrain preflight RECIPE
  torchrun ... -m launch.cli preflight RECIPE                  cannot name a node that torchrun itself waits for

exit codes: 0 all nodes can train (warnings or not), 3 something failed on some node, 2 wrong arguments
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `polytrain preflight`."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "recipe", metavar="RECIPE", nargs="?", help="what is to be trained: its data, folders and sizes"
    )
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="override a key of the recipe")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds for all of it (60)")
    parser.add_argument("--nodes", type=int, metavar="N", help="how many nodes; without it, as the launcher says")
    parser.add_argument("--node-rank", type=int, metavar="R", help="which of them this is, from 0")
    parser.add_argument("--master", metavar="HOST:PORT", help="node 0, and a free port of it")
    parser.add_argument(
        "--ranks-per-node", type=int, metavar="N", help="training processes on a node; default: GPUs, or 1 without any"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Look, say what was found, and end the process.

    Raises:
        ConfigError: when arguments or environment make no sense.
    """
    if arguments.timeout < 1:
        raise ConfigError(f"--timeout {arguments.timeout:g}: expected at least 1 second.")
    place = find_place(arguments.nodes, arguments.node_rank, arguments.master, os.environ)
    if place.local_rank and place.count == 1:
        return  # local rank 0 looks
    limit = Limit(arguments.timeout)
    limit.enforce(_GRACE_S, EXIT_FAILED)
    for name, value in _TORCH.items():
        os.environ.setdefault(name, value)
    # Threads may hang in a driver or in a dead file system: there is no waiting for them.
    leave(_preflight(arguments, place, limit))


def _preflight(arguments: argparse.Namespace, place: Place, limit: Limit) -> int:
    from launch.preflight.exchange import Exchange, NotReached

    try:
        exchange = Exchange(place, limit)
        if place.local_rank:
            return _exit_code_of_node_0(exchange, limit)
        return _look(arguments, place, exchange, limit)
    except NotReached as error:
        print(f"polytrain preflight: {error}", file=sys.stderr, flush=True)
        return EXIT_FAILED


def _look(arguments: argparse.Namespace, place: Place, exchange: Exchange, limit: Limit) -> int:
    exchange.put("host", socket.gethostname())
    results, recipe = look_at_this_node(arguments, place, limit)
    exchange.put("report", _plain(results))
    reports: dict[int, Any] = {}
    if place.rank == 0:
        reports = exchange.take_all("report", range(place.count), limit.left(0.5))
        exchange.put("members", {"all": list(reports), "with recipe": _with_recipe(reports)})
    members = exchange.take("members", 0, limit.left()) or {"all": []}
    if place.rank not in members["all"]:
        name = place.name(place.rank)
        print(f"polytrain preflight: {name} was too late: node 0 did not wait for its report", file=sys.stderr)
        return EXIT_FAILED
    outcome = look_at_each_other(exchange, members, recipe, limit)
    exchange.put("outcome", outcome)
    if place.rank:
        return _exit_code_of_node_0(exchange, limit)
    outcomes = exchange.take_all("outcome", members["all"], limit.left(0.95))
    verdict = judge(place, _names(place, exchange), reports, outcomes)
    _print(verdict, reports, outcomes, limit, as_json=arguments.json)
    code = EXIT_FAILED if verdict.has_failed else 0
    exchange.put("verdict", code)
    # The store ends with this process.
    exchange.take_all("left", [rank for rank in members["all"] if rank], _SECONDS_TO_LEAVE)
    if place.count > 1:
        time.sleep(_SECONDS_FOR_OTHERS)
    return code


def look_at_this_node(
    arguments: argparse.Namespace, place: Place, limit: Limit
) -> tuple[dict[str, Result], Recipe | None]:
    """The checks that need no other node, each with a limit of its own, and the recipe if it is one."""
    import torch

    from launch.preflight.data import readable
    from launch.preflight.devices import devices, has_driver, health
    from launch.preflight.recipe import Examined, examine
    from launch.preflight.report import Result, checked
    from launch.preflight.space import space
    from launch.preflight.versions import system, versions

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
    from torch._C._distributed_c10d import PrefixStore

    from launch.preflight import clock, network
    from launch.preflight.report import checked
    from launch.preflight.shared import shared

    if len(nodes) == 1:
        return {"results": {}}
    if exchange.rank == 0:
        clock.answer_all(exchange, nodes)
    found = {"clock": checked(lambda: clock.skew(exchange, limit.left(0.6)), limit.left(0.6))}
    if recipe is not None and exchange.rank in sharing:
        found["shared"] = checked(lambda: shared(exchange, sharing, Path(recipe.run), limit.left(0.7)), limit.left(0.7))
    pair_seconds = max(1.0, _PAIR_SHARE * limit.seconds)
    met = network.meet_all(exchange, nodes, pair_seconds, limit)
    exchange.put("met", [rank for rank, outcome in met.items() if "error" not in outcome])
    if exchange.rank == 0:
        reached = exchange.take_all("met", nodes, limit.left(0.85))
        # One that reaches nobody would only hold up the others; it is named already.
        exchange.put("together", [rank for rank in nodes if reached.get(rank)])
    together = exchange.take("together", 0, limit.left(0.9)) or []
    outcome: dict[str, Any] = {"results": _plain(found), "pairs": met}
    if exchange.rank in together:
        store = PrefixStore("all", exchange.connection())
        outcome["all"] = network.exercise(store, exchange.rank, together, min(pair_seconds, limit.left(0.9)))
    return outcome


def judge(place: Place, names: list[str], reports: Mapping[int, Any], outcomes: Mapping[int, Any]) -> Verdict:
    """Put together what all nodes said."""
    from launch.preflight.report import Result
    from launch.preflight.verdict import Verdict, add_all_together, add_pairs, add_results

    verdict = Verdict(names, {rank: {"report"} for rank in reports})
    for rank in range(place.count):
        if rank not in reports:
            verdict.add("FAIL", "report", [rank], _absence(place))
        elif rank not in outcomes:
            verdict.add("FAIL", "report", [rank], "was lost while nodes looked at each other")
    found = {
        rank: {
            check: Result(**result) for check, result in (report | outcomes.get(rank, {}).get("results", {})).items()
        }
        for rank, report in reports.items()
    }
    add_results(verdict, found)
    pairs = {rank: outcome["pairs"] for rank, outcome in outcomes.items() if "pairs" in outcome}
    add_pairs(verdict, {rank: {int(other): item for other, item in met.items()} for rank, met in pairs.items()})
    add_all_together(verdict, {rank: outcome["all"] for rank, outcome in outcomes.items() if "all" in outcome})
    return verdict


def _with_recipe(reports: Mapping[int, Any]) -> list[int]:
    """The nodes that could read the recipe, if node 0, who leads, is one, and there are others."""
    able = [rank for rank, report in reports.items() if report.get("recipe", {}).get("facts")]
    return able if able[:1] == [0] and len(able) > 1 else []


def _absence(place: Place) -> str:
    there = f"node 0 at {place.host}:{place.port}"
    return f"no report in time: it was not started, is down, hangs in its checks, or cannot reach {there}"


def _names(place: Place, exchange: Exchange) -> list[str]:
    """As the launcher calls them, else their own host names; two nodes of one name get their rank behind it."""
    hosts = exchange.take_all("host", range(place.count), 0)
    names = list(place.names) or [hosts.get(rank, place.name(rank)) for rank in range(place.count)]
    return [f"{name}#{rank}" if names.count(name) > 1 else name for rank, name in enumerate(names)]


def _exit_code_of_node_0(exchange: Exchange, limit: Limit) -> int:
    code = exchange.take("verdict", 0, limit.left() + _GRACE_S / 2)
    exchange.put("left", True)
    return EXIT_FAILED if code is None else int(code)


def _plain(results: Mapping[str, Result]) -> dict[str, Any]:
    return {check: asdict(result) for check, result in results.items()}


def _print(
    verdict: Verdict, reports: Mapping[int, Any], outcomes: Mapping[int, Any], limit: Limit, *, as_json: bool
) -> None:
    from launch.preflight.table import as_text, as_tree

    if as_json:
        details = {rank: {"alone": report, "together": outcomes.get(rank)} for rank, report in reports.items()}
        print(json.dumps(as_tree(verdict, details), indent=2), flush=True)
    else:
        print(as_text(verdict, limit.seconds - limit.left()), flush=True)
