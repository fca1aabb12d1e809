"""Starting things: the command line `polytrain`, scripts for torchrun, SLURM and Kubernetes.

Belongs here: what a person types and what a scheduler runs. Does not belong here: anything that
`python -m train` needs, because nothing may import this room.

    launch.cli         `polytrain`: one subcommand for each thing a user does
    launch.pack        `polytrain pack`
    launch.data        `polytrain data`
    launch.imports     `polytrain import`
    launch.report      `polytrain report`
    launch.preflight   `polytrain preflight`
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
    "cli",
    "cluster",
    "data",
    "flags",
    "imports",
    "jobs",
    "pack",
    "preflight",
    "report",
    "slurm",
    "sweeps",
    "tables",
]
