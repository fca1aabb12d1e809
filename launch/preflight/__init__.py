"""`polytrain preflight`: a broken node is named before it wastes an allocation.

Belongs here: looking at nodes before a run, and telling which one is unlike the others. Does not belong here: what
training itself checks when it starts, or while it runs.

    launch.preflight.command     the command and its arguments
    launch.preflight.session     the course of it: who reports to whom, and when
    launch.preflight.place       which node this process is, as launchers tell
    launch.preflight.exchange    what nodes tell each other
    launch.preflight.limits      nothing waits for ever
    launch.preflight.report      what a check found
    launch.preflight.look        every check in its order
    launch.preflight.versions    of one node: what is installed
    launch.preflight.devices     of one node: GPUs and their health
    launch.preflight.recipe      of one node: the recipe on this many ranks
    launch.preflight.data        of one node: shards
    launch.preflight.space       of one node: room on disks
    launch.preflight.shared      between nodes: the file system of the run folder
    launch.preflight.clock       between nodes: the time
    launch.preflight.network     between nodes: all-reduce, pairwise and global
    launch.preflight.judge       from what all nodes found to what is wrong
    launch.preflight.links       the same of the network
    launch.preflight.verdict     what is wrong, and where
    launch.preflight.table       the verdict as text and JSON
"""

__all__ = [
    "clock",
    "command",
    "data",
    "devices",
    "exchange",
    "judge",
    "limits",
    "links",
    "look",
    "network",
    "place",
    "recipe",
    "report",
    "session",
    "shared",
    "space",
    "table",
    "verdict",
    "versions",
]
