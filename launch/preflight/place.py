"""Which node this process is, among how many, and where node 0 answers: what a launcher tells.

In this order: flags; ranks in the environment (torchrun); NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT; SLURM; alone.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from configs.errors import ConfigError

# Two jobs that share their first node get two ports; below those that Linux gives to outgoing connections.
_FIRST_PORT, _NUM_PORTS = 20_000, 10_000


@dataclass(frozen=True)
class Place:
    """One node among all nodes."""

    rank: int = 0
    "Of the node, from 0."
    count: int = 1
    "Nodes."
    host: str = "127.0.0.1"
    "Where node 0 answers."
    port: int = 0
    names: tuple[str, ...] = ()
    "Host names of all nodes, by rank, where the launcher tells them."
    local_rank: int = 0
    "Of this process on its node: 0 makes the checks."
    ranks_per_node: int | None = None
    "Training processes on a node, where the launcher tells."
    has_store: bool = False
    "Whether the launcher keeps a store at host:port already."

    def name(self, rank: int) -> str:
        """What messages call a node of which nothing was heard."""
        return self.names[rank] if self.names else f"node {rank}"


def find_place(nodes: int | None, node_rank: int | None, master: str | None, environment: Mapping[str, str]) -> Place:
    """The place that flags or environment give.

    Raises:
        ConfigError: when they are incomplete or contradict themselves.
    """
    ranks = _number(environment, "NPROC_PER_NODE")
    if nodes is not None or node_rank is not None or master is not None:
        return _checked(_of_flags(nodes, node_rank, master, ranks))
    if "RANK" in environment:
        return _checked(_of_ranks(environment))
    is_slurm = "SLURM_NODEID" in environment
    if "NODE_RANK" in environment or ("NNODES" in environment and not is_slurm):
        return _checked(_of_variables(environment, ranks))
    if is_slurm:
        return _checked(_of_slurm(environment, ranks))
    if (allocated := _number(environment, "SLURM_JOB_NUM_NODES") or 1) > 1:
        raise ConfigError(
            f"this is an allocation of {allocated} nodes, and this process was not started by srun. "
            "Start one on every node: srun --ntasks-per-node=1 polytrain preflight ..."
        )
    return Place(ranks_per_node=ranks)


def expand_hosts(text: str) -> list[str]:
    """The hosts of a SLURM list: "gpu[01-03,07],login" -> gpu01, gpu02, gpu03, gpu07, login."""
    items = re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text)
    return [host for item in items for host in _expand_one(item)]


def _expand_one(item: str) -> list[str]:
    parts = re.split(r"\[([^\]]*)\]", item)
    choices = [[part] if number % 2 == 0 else _expand_ranges(part) for number, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _expand_ranges(text: str) -> list[str]:
    found: list[str] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += [f"{number:0{len(first)}d}" for number in range(int(first), int(last or first) + 1)]
    return found


def _of_flags(nodes: int | None, node_rank: int | None, master: str | None, ranks: int | None) -> Place:
    if nodes == 1 and master is None:
        return Place(ranks_per_node=ranks)
    if nodes is None or node_rank is None or master is None:
        raise ConfigError(
            "--nodes, --node-rank and --master belong together: --nodes 4 --node-rank 2 --master HOST:PORT."
        )
    host, _, port = master.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"--master {master}: expected HOST:PORT, such as node00:29400.")
    return Place(node_rank, nodes, host.strip("[]"), int(port), ranks_per_node=ranks)


def _of_ranks(environment: Mapping[str, str]) -> Place:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
    found = [_number(environment, name) for name in names]
    if None in found or "MASTER_ADDR" not in environment:
        raise ConfigError(
            f"process environment: RANK is set, and so must be {', '.join(names[1:])} and MASTER_ADDR. "
            "Start with torchrun, or unset RANK."
        )
    rank, size, local_rank, local_size, port = (number or 0 for number in found)
    if size == local_size:
        # torchrun gives its store to one node, too, but nobody needs it.
        return Place(local_rank=local_rank, ranks_per_node=local_size)
    return Place(
        rank // local_size,
        size // local_size,
        environment["MASTER_ADDR"],
        port,
        local_rank=local_rank,
        ranks_per_node=local_size,
        has_store=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def _of_variables(environment: Mapping[str, str], ranks: int | None) -> Place:
    count, rank, port = (_number(environment, name) for name in ("NNODES", "NODE_RANK", "MASTER_PORT"))
    if count == 1:
        return Place(ranks_per_node=ranks)
    if count is None or rank is None or port is None or "MASTER_ADDR" not in environment:
        raise ConfigError("process environment: set all of NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT.")
    return Place(rank, count, environment["MASTER_ADDR"], port, ranks_per_node=ranks)


def _of_slurm(environment: Mapping[str, str], ranks: int | None) -> Place:
    # A step may have fewer nodes than its job.
    listed = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    names = expand_hosts(listed)
    count = _number(environment, "SLURM_STEP_NUM_NODES") or _number(environment, "SLURM_JOB_NUM_NODES") or len(names)
    local_rank = _number(environment, "SLURM_LOCALID") or 0
    if count <= 1:
        return Place(local_rank=local_rank, ranks_per_node=ranks)
    job = _number(environment, "SLURM_JOB_ID") or 0
    port = _number(environment, "MASTER_PORT") or _FIRST_PORT + job % _NUM_PORTS
    return Place(
        _number(environment, "SLURM_NODEID") or 0,
        count,
        environment.get("MASTER_ADDR") or (names[0] if names else ""),
        port,
        tuple(names) if len(names) == count else (),
        local_rank,
        ranks,
    )


def _checked(place: Place) -> Place:
    if not 0 <= place.rank < place.count:
        raise ConfigError(f"node {place.rank} of {place.count}: nodes are numbered from 0 to {place.count - 1}.")
    if not place.host:
        raise ConfigError("process environment: SLURM names no nodes. Set MASTER_ADDR to the host of node 0.")
    return place


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    if not text:
        return None
    if not text.isdecimal():
        raise ConfigError(f"process environment: {name}={text}: expected a number.")
    return int(text)
