"""`polytrain launch slurm RECIPE`: check the recipe, fill in `launch/slurm.sbatch`, submit it.

runs/quickstart.slurm/         beside the run folder runs/quickstart, which stays the training's own
job.sbatch                   what was submitted last: `sbatch runs/quickstart.slurm/job.sbatch` does the same
sweep-1a2b3c4d.txt           the overrides of task i in line i; named after its content, so tasks that wait keep theirs
quickstart-17.out            the log of job 17; of its nodes or ranks: quickstart-17-node0-gpu03.log
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from configs.errors import ConfigError
from configs.files import replace_file
from launch.sweeps import expand_sweep

SCRIPT = Path(__file__).with_name("slurm.sbatch")
# By this SLURM knows which jobs are ours, and where their logs are.
MARK = "polytrain:"

_EXAMPLES = """\
examples:
  polytrain launch slurm configs/quickstart.yaml --nodes 2 --gpus-per-node 8 --time 4:00:00 --partition gpu
  polytrain launch slurm configs/quickstart.yaml --ranks-per-node 2 --sbatch cpus-per-task=8 --dry-run train.steps=1000
  polytrain launch slurm configs/quickstart.yaml --sweep optimizer.lr=1e-3,3e-4 --sweep seed=0,1

Logs, and the script that was submitted, are in <run>.slurm/, beside the run folder.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `polytrain launch slurm`."""
    from train.command import add_recipe_arguments

    add_recipe_arguments(parser)
    parser.epilog = _EXAMPLES
    parser.add_argument("--nodes", type=int, default=1, help="machines (1)")
    parser.add_argument("--gpus-per-node", type=int, default=0, help="GPUs of each, one rank for each (0: CPU)")
    parser.add_argument("--ranks-per-node", type=int, help="ranks on each node; default: its GPUs, or one")
    parser.add_argument("--time", help="the longest a job may run, as SLURM writes it: 4:00:00")
    parser.add_argument("--partition", help="where")
    parser.add_argument("--sbatch", action="append", default=[], metavar="KEY=VALUE", help="any other flag of sbatch")
    parser.add_argument("--sweep", action="append", default=[], metavar="KEY=A,B", help="one run for each combination")
    parser.add_argument("--setup", type=Path, help="a file that the job sources first: modules, containers")
    parser.add_argument("--tasks", action="store_true", help="one task of SLURM per rank, without torchrun")
    parser.add_argument("--dry-run", action="store_true", help="print the script, and write nothing")


def run(arguments: argparse.Namespace) -> None:
    """Submit, or print what would be."""
    run_folder, sweep = _checked(arguments)
    folder = Path(f"{run_folder}.slurm").absolute()
    lines = "".join(shlex.join(overrides) + "\n" for overrides in sweep)
    sweep_path = folder / f"sweep-{hashlib.sha256(lines.encode()).hexdigest()[:8]}.txt" if sweep else None
    script = _fill(
        _flags(arguments, folder, sweep_path, len(sweep)), _variables(arguments, folder, sweep_path), arguments
    )
    if arguments.dry_run:
        print(script, end="")
        print("".join(f"# task {number}: {line}\n" for number, line in enumerate(lines.splitlines())), end="")
        return
    sbatch = require_command("sbatch")
    folder.mkdir(parents=True, exist_ok=True)
    if sweep_path is not None:
        replace_file(sweep_path, lines)
    replace_file(folder / "job.sbatch", script)
    job = call([sbatch, "--parsable", str(folder / "job.sbatch")]).strip().partition(";")[0]
    print(f"job {job}: {max(1, len(sweep))} run(s), logs in {folder}")
    print(f"look at it: polytrain launch status {job}; end it: polytrain launch cancel {job}")


def require_command(name: str) -> str:
    """The path of a command of SLURM.

    Raises:
        ConfigError: when it is not there.
    """
    path = shutil.which(name)
    if path is None:
        raise ConfigError(f"{name}: not on PATH. Do this on a machine of a SLURM cluster, such as its login node.")
    return path


def call(command: Sequence[str]) -> str:
    """The output of a command of SLURM.

    Raises:
        ConfigError: with what it said, when it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f"{Path(command[0]).name}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _checked(arguments: argparse.Namespace) -> tuple[str, list[list[str]]]:
    """The run folder and the overrides of each run of the sweep, after every recipe was validated."""
    from data.batches import BatchPlan
    from train.recipe import load_recipe

    for flag in ("nodes", "ranks_per_node"):
        if getattr(arguments, flag) is not None and getattr(arguments, flag) < 1:
            raise ConfigError(f"--{flag.replace('_', '-')} {getattr(arguments, flag)}: expected at least 1.")
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    sweep = expand_sweep(arguments.sweep, recipe.run) if arguments.sweep else []
    for overrides in sweep or [[]]:
        each = load_recipe(arguments.recipe, [*arguments.overrides, *overrides])
        BatchPlan.of(each.batch, 0, arguments.nodes * _ranks_per_node(arguments))
    return recipe.run, sweep


def _ranks_per_node(arguments: argparse.Namespace) -> int:
    return int(arguments.ranks_per_node or arguments.gpus_per_node or 1)


def _flags(arguments: argparse.Namespace, folder: Path, sweep: Path | None, num_tasks: int) -> dict[str, str | None]:
    """The flags of sbatch; None for those without a value."""
    flags: dict[str, str | None] = {"job-name": folder.stem, "comment": f"{MARK}{sweep or folder}"}
    flags["output"] = f"{folder}/%x-{'%A_%a' if sweep else '%j'}.out"
    flags["nodes"] = str(arguments.nodes)
    given = {"gpus-per-node": arguments.gpus_per_node or None, "time": arguments.time, "partition": arguments.partition}
    flags |= {name: str(value) for name, value in given.items() if value is not None}
    if sweep is not None:
        flags["array"] = f"0-{num_tasks - 1}"
    for item in arguments.sbatch:
        name, equals, value = item.removeprefix("--").partition("=")
        flags[name] = value if equals else None
    return flags


def _variables(arguments: argparse.Namespace, folder: Path, sweep: Path | None) -> dict[str, str]:
    variables = {"LOGS": str(folder), "PYTHON": sys.executable, "NPROC_PER_NODE": str(_ranks_per_node(arguments))}
    variables["LAUNCH"] = "tasks" if arguments.tasks else "torchrun"
    if sweep is not None:
        variables["SWEEP"] = str(sweep)
    if arguments.setup is not None:
        if not arguments.setup.is_file():
            raise ConfigError(f"--setup {arguments.setup}: no such file.")
        variables["POLYTRAIN_SETUP"] = str(arguments.setup.absolute())
    return variables


def _fill(flags: Mapping[str, str | None], variables: Mapping[str, str], arguments: argparse.Namespace) -> str:
    """The script of the package with these flags, variables and arguments."""
    first, *lines = SCRIPT.read_text().splitlines()
    inherited = [line for line in lines if line.startswith("#SBATCH --")]
    ours = {
        name: f"#SBATCH --{name}" if value is None else f"#SBATCH --{name}={value}" for name, value in flags.items()
    }
    kept = [line for line in inherited if line.removeprefix("#SBATCH --").partition("=")[0] not in ours]
    body = lines[lines.index("set -euo pipefail") + 1 :]
    filled = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    filled.append(f"set -- {shlex.join([arguments.recipe, *arguments.overrides])}")
    return "\n".join([first, *kept, *ours.values(), "set -euo pipefail", *filled, *body]) + "\n"
