"""Starting things: the command line `polytrain`, and (to come) torchrun and SLURM scripts, preflight checks.

Belongs here: what a person types and what a scheduler runs. Does not belong here: anything that
`python -m train` needs, because nothing may import this room.

    launch.cli         `polytrain`: one subcommand for each thing a user does
    launch.pack        `polytrain pack`
    launch.plan        `polytrain plan`
    launch.data        `polytrain data`
    launch.imports     `polytrain import`
    launch.flags       options classes as command-line flags
    launch.tables      facts as aligned lines
"""

__all__ = ["cli", "data", "flags", "imports", "pack", "plan", "tables"]
