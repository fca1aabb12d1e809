"""Starting things: the command line `polytrain`, scripts for torchrun, SLURM and Kubernetes.

Belongs here: what a person types and what a scheduler runs. Does not belong here: anything that
`python -m train` needs, because nothing may import this room.

    launch.cli         `polytrain`: one subcommand for each thing a user does
    launch.check, data, export, generate, imports, index, pack, plan, preflight, report, reproduce, schema
                       the subcommand of that name, with its arguments and `run`
    launch.cluster     `polytrain launch`
    launch.slurm       `polytrain launch slurm`: a recipe as a job
    launch.sweeps      a product of overrides
    launch.jobs        `polytrain launch status`, `logs`, `cancel`
    launch.agent       torchrun, with the exit code and the signals of the training (launch/torchrun.sh)
    launch.flags       options classes as command-line flags
    launch.tables      facts as aligned lines
"""

__all__ = [
    "agent",
    "check",
    "cli",
    "cluster",
    "data",
    "export",
    "flags",
    "generate",
    "imports",
    "index",
    "jobs",
    "pack",
    "plan",
    "preflight",
    "report",
    "reproduce",
    "schema",
    "slurm",
    "sweeps",
    "tables",
]
