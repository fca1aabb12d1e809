"""Several nodes: training across a network, and a preflight that names the broken one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Trainer
from tests.system.network import Nodes, connected_nodes

pytestmark = pytest.mark.processes

_VARIABLES = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    before = _namespaces()
    with connected_nodes(3) as found:
        yield found
    assert _namespaces() == before


def _namespaces() -> list[str]:
    path = Path("/run/netns")
    return sorted(item.name for item in path.iterdir()) if path.exists() else []


class Preflight:
    """Runs preflight on all nodes at once, as srun starts it: one process a node, told by SLURM's variables."""

    def __init__(self, nodes: Nodes, trainer: Trainer) -> None:
        self._nodes = nodes
        self.folder = trainer.folder
        # [python, -m, train, RECIPE, overrides]
        self._recipe = [*trainer.command(ranks=0)[3:], "batch.global=12"]

    def __call__(
        self,
        *overrides: str,
        variables: dict[int, dict[str, str]] | None = None,
        small_disk: dict[int, Path] | None = None,
        timeout_s: int = 60,
    ) -> tuple[list[int], dict[str, Any], list[str]]:
        """Exit codes, what node 0 says as JSON, and the output of all; extra variables and a full disk by rank."""
        names = self._nodes.names
        command = [sys.executable, "-m", "launch.cli", "preflight", *self._recipe, *overrides, "--json"]
        slurm = {
            "SLURM_JOB_ID": "1",
            "SLURM_JOB_NUM_NODES": str(len(names)),
            "SLURM_JOB_NODELIST": f"node[00-{len(names) - 1:02d}]",
        }
        processes = []
        for rank in range(len(names)):
            told = {**_VARIABLES, **slurm, "SLURM_NODEID": str(rank), **(variables or {}).get(rank, {})}
            disk = (small_disk or {}).get(rank)
            processes.append(self._nodes.start(rank, [*command, f"--timeout={timeout_s}"], told, disk))
        outputs = [process.communicate(timeout=120)[0] for process in processes]
        return [process.returncode for process in processes], json.loads(outputs[0]), outputs


@pytest.fixture
def preflight(nodes: Nodes, trainer: Trainer) -> Preflight:
    return Preflight(nodes, trainer)


def _failures(said: dict[str, Any]) -> list[tuple[str, list[str], str]]:
    return [(item["check"], item["nodes"], item["text"]) for item in said["problems"] if item["level"] == "FAIL"]


def test_two_nodes_of_two_ranks_train_as_one_process_does(nodes: Nodes, trainer: Trainer) -> None:
    common = ["batch.global=8", "batch.micro=2", "train.steps=6", "checkpoint.every=6"]
    arguments = trainer.command(*common, "engine.zero=2", f"run={trainer.folder / 'nodes'}", ranks=0)[3:]
    variables = {"NNODES": "2", "NPROC_PER_NODE": "2", "MASTER_ADDR": "node00", "MASTER_PORT": "29500"}
    variables |= {"PYTHON": sys.executable, **_VARIABLES}
    command = [str(ROOT / "launch" / "torchrun.sh"), *arguments]
    agents = [nodes.start(rank, command, {**variables, "NODE_RANK": str(rank)}) for rank in (0, 1)]
    outputs = [agent.communicate(timeout=300)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    environment = json.loads((trainer.folder / "nodes" / "environment.json").read_text())
    assert (environment["world_size"], environment["host"]) == (4, "node00")
    whole = trainer.train(*common, "engine.kind=accelerate", ranks=0, run="whole")
    steps = [[row for row in rows if "probe" not in row] for rows in (trainer.rows("nodes"), whole)]
    assert [row["step"] for row in steps[0]] == [1, 2, 3, 4, 5, 6]
    assert [row["data_digest"] for row in steps[0]] == [row["data_digest"] for row in steps[1]]
    assert [row["loss"] for row in steps[0]] == pytest.approx([row["loss"] for row in steps[1]], rel=1e-5)


def test_preflight_passes_on_healthy_nodes(nodes: Nodes, preflight: Preflight) -> None:
    codes, said, outputs = preflight()
    assert codes == [0, 0, 0], outputs
    assert said["ok"]
    assert [node["name"] for node in said["nodes"]] == nodes.names
    made = {
        "report",
        "versions",
        "system",
        "devices",
        "recipe",
        "data",
        "space",
        "shared",
        "clock",
        "pairs",
        "all-reduce",
    }
    for node in said["nodes"]:
        assert {check for check, found in node["checks"].items() if found in ("ok", "warn")} >= made
        together = node["report"]["together"]
        met = [outcome["speeds"]["gloo"] for outcome in together["pairs"].values()]
        assert len(met) == 2
        assert all(speed["gb_per_s"] > 0 and speed["latency_us"] > 0 for speed in met)
    # One machine, one clock.
    offset = said["nodes"][2]["report"]["together"]["results"]["clock"]["figures"]
    assert abs(offset["offset_s"]) <= offset["uncertainty_s"]
    assert not list(preflight.folder.rglob(".polytrain-preflight*"))


def test_preflight_names_the_node_whose_link_is_down(nodes: Nodes, preflight: Preflight) -> None:
    nodes.set_link(2, is_up=False)
    started = time.monotonic()
    try:
        codes, said, outputs = preflight(timeout_s=50)
    finally:
        nodes.set_link(2, is_up=True)
    assert time.monotonic() - started < 65
    assert codes == [3, 3, 3], outputs
    ((check, named, _),) = _failures(said)
    assert (check, named) == ("report", ["node02"])
    assert said["nodes"][1]["checks"]["all-reduce"] == "ok"
    assert "node02 cannot reach node 0 at node00" in outputs[2]


def test_preflight_names_two_nodes_that_do_not_reach_each_other(nodes: Nodes, preflight: Preflight) -> None:
    with nodes.no_way(2, 1):
        codes, said, outputs = preflight()
    assert codes == [3, 3, 3], outputs
    ((check, named, text),) = _failures(said)
    assert (check, named) == ("pairs", ["node01", "node02"])
    assert "all-reduce between them fails" in text
    # What is left goes on: two of the three can still do it together.
    assert sorted(node["checks"]["all-reduce"] for node in said["nodes"]) == ["-", "ok", "ok"]


def test_preflight_names_the_node_with_another_version(preflight: Preflight, tmp_path: Path) -> None:
    metadata = tmp_path / "other" / "accelerate-9.9.9.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: accelerate\nVersion: 9.9.9\n")
    codes, said, outputs = preflight(variables={1: {"PYTHONPATH": f"{tmp_path / 'other'}:{ROOT}"}})
    assert codes == [3, 3, 3], outputs
    ((check, named, text),) = _failures(said)
    assert (check, named) == ("versions", ["node01"])
    assert text.startswith("node01: accelerate 9.9.9, 2 others have ")


def test_preflight_names_the_nodes_with_full_disks(preflight: Preflight, tmp_path: Path) -> None:
    run, cache = tmp_path / "mine", tmp_path / "cache"
    run.mkdir()
    cache.mkdir()
    # 0.5 million parameters: 25 MB of checkpoints.
    overrides = (f"run={run}", "model.dim=128", f"data.cache.folder={cache}", "data.cache.size_gb=0.01")
    codes, said, outputs = preflight(*overrides, small_disk={1: cache, 2: run})
    assert codes == [3, 3, 3], outputs
    found = {(check, *named): text for check, named, text in _failures(said)}
    # A run folder on a disk of its own is not shared, either.
    assert found.keys() == {("space", "node01"), ("space", "node02"), ("shared", "node02")}
    assert f"node01: {cache} has 1.05 MB free, data.cache need 10 MB" in found["space", "node01"]
    assert f"node02: {run} has 1.05 MB free, checkpoints need " in found["space", "node02"]
