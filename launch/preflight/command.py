"""`polytrain preflight [RECIPE] [key=value ...]`: every node looks at itself and at the others.

Exit codes: 0 all nodes can train (there may be warnings), 3 something failed on some node, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import os

from configs.errors import ConfigError
from launch.preflight.limits import Limit
from launch.preflight.place import find_place
from train.command import leave

EXIT_FAILED = 3

# Read when torch is imported and when groups are made.
_TORCH = {
    "TORCH_CPP_LOG_LEVEL": "FATAL",  # its warnings of nodes that do not answer would bury ours
    "TORCH_NCCL_BLOCKING_WAIT": "1",  # a node that does not answer is an error here, which would be the end of
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",  # the process otherwise
}

# How long after the limit a process is ended that hangs all the same.
_GRACE_S = 10.0

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
    from launch.preflight.session import attend

    has_failed = attend(arguments, place, limit)
    # Threads may hang in a driver or in a dead file system: there is no waiting for them.
    leave(EXIT_FAILED if has_failed else 0)
