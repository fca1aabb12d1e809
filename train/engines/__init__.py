"""Where parameters live and how a step is taken.

    train.engines.options      options of every engine, free of torch
    train.engines.engine       the interface, and how an engine is built
    train.engines.replicated   what engines share where every rank holds the whole module
    train.engines.blocked      how long collectives hold up a step
    train.engines.accelerate   one process, or DDP
    train.engines.deepspeed    ZeRO 0-3, offload

What was asked for is checked on the built engine; an engine that cannot do it raises.
"""

__all__ = ["accelerate", "blocked", "deepspeed", "engine", "options", "replicated"]
