"""What launchers tell a process about itself: torchrun, OpenMPI, SLURM, none. Free of torch.

The other launchers' variables are translated into those of torchrun, which is what torch, DeepSpeed and Accelerate
read: after `adopt` there is one launcher.

    torchrun    RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT
    OpenMPI     mpirun -n 8 -x MASTER_ADDR=node0 python -m train RECIPE
    SLURM       srun --ntasks-per-node 8 python -m train RECIPE: one task per rank
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from configs.errors import ConfigError

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")

_PREFIX = "OMPI_COMM_WORLD_"
_OPENMPI = dict(zip(NUMBERS, [_PREFIX + name for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")], strict=True))

# torch's own default.
_PORT = 29500
# Steps of SLURM take ports from here, below those that the kernel hands out (32768 and more).
_FIRST_PORT, _NUM_PORTS = 20000, 12000


def adopt() -> None:
    """Set torchrun's variables from those of the launcher that started this process, if one did.

    Raises:
        ConfigError: when the variables are there but do not make sense.
    """
    os.environ.update(torchrun_variables(os.environ))


def torchrun_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What torchrun would have set; nothing for a process that is alone.

    mpirun starts its daemons with srun, so SLURM's variables come last: below mpirun they describe the daemon.

    Raises:
        ConfigError: when the variables are there but do not make sense.
    """
    if "RANK" in environment:
        return _of_torchrun(environment)
    if _OPENMPI["RANK"] in environment:
        return _of_openmpi(environment)
    # A shell of salloc, the script of sbatch and `srun --pty` have a SLURM_PROCID as well. Ranks are tasks of one step.
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _of_slurm(environment)
    return {}


def _of_torchrun(environment: Mapping[str, str]) -> dict[str, str]:
    odd = [name for name in NUMBERS if not environment.get(name, "").isdecimal()]
    if odd:
        raise ConfigError(
            f"process environment: RANK is set, but {', '.join(odd)} is missing or not a number. "
            "Start with torchrun, or unset RANK for a single process."
        )
    return {name: environment[name] for name in NUMBERS}


def _of_openmpi(environment: Mapping[str, str]) -> dict[str, str]:
    numbers = {ours: environment[theirs] for ours, theirs in _OPENMPI.items()} | _own_device(environment)
    is_one_node = numbers["WORLD_SIZE"] == numbers["LOCAL_WORLD_SIZE"]
    address = environment.get("MASTER_ADDR", "127.0.0.1" if is_one_node else "")
    if not address:
        raise ConfigError(
            "process environment: OpenMPI started ranks on several nodes, but MASTER_ADDR is missing. "
            "Name the node of rank 0: mpirun -x MASTER_ADDR=... -x MASTER_PORT=..."
        )
    return numbers | {"MASTER_ADDR": address, "MASTER_PORT": environment.get("MASTER_PORT", str(_PORT))}


def _of_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    tasks = _expanded(environment["SLURM_STEP_TASKS_PER_NODE"])
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(tasks[int(environment["SLURM_NODEID"])]),
        **_own_device(environment),
        "MASTER_ADDR": environment.get("MASTER_ADDR", _first_host(environment["SLURM_STEP_NODELIST"])),
        "MASTER_PORT": environment.get("MASTER_PORT", str(_port(environment))),
    }


def _own_device(environment: Mapping[str, str]) -> dict[str, str]:
    """LOCAL_RANK numbers the devices: the only one that a rank sees (srun --gpus-per-task=1) is number 0."""
    devices = environment.get("CUDA_VISIBLE_DEVICES", "")
    return {"LOCAL_RANK": "0"} if devices and "," not in devices else {}


def _expanded(counts: str) -> list[int]:
    """SLURM's "4(x2),3" is 4, 4, 3."""
    parts = (re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in counts.split(","))
    return [int(part[1]) for part in parts if part is not None for _ in range(int(part[2] or 1))]


def _first_host(hosts: str) -> str:
    """Of SLURM's "gpu[07-09,12],login" it is gpu07: task 0 runs there."""
    return re.sub(r"\[(\d+)[^]]*\]", r"\1", hosts).split(",")[0]


def _port(environment: Mapping[str, str]) -> int:
    """The same for all tasks of a step, and another one for steps that may share a node."""
    step = 31 * int(environment["SLURM_JOB_ID"]) + int(environment["SLURM_STEP_ID"])
    return _FIRST_PORT + step % _NUM_PORTS
