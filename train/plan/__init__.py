"""What a recipe would need on a cluster, before anybody queues for it: nothing here trains or touches a device.

Belongs here: counting (parameters, FLOPs, bytes) from shapes, and time from counts and a catalogue of devices. Does not
belong here: measuring a run that goes on, which is `train.metrics`.

    train.plan.quantities   the figures that the others exchange
    train.plan.flops        FLOPs of a recipe
    train.plan.memory       bytes of a recipe on every device
    train.plan.gpus         the catalogue of GPUs and networks (gpus.yaml)
    train.plan.time         seconds of a step, by a roofline with communication
    train.plan.roofline     one block, operator by operator
    train.plan.plan         which layouts fit, and the fastest of them
    train.plan.activations  what is kept for backward
    train.plan.batches      a batch like those of a recipe
    train.plan.attention    attention that is counted, not computed
    train.plan.shadow       running a module for its shapes
"""

__all__ = [
    "activations",
    "attention",
    "batches",
    "flops",
    "gpus",
    "memory",
    "plan",
    "quantities",
    "roofline",
    "shadow",
    "time",
]
