"""Bytes on every device, as our engines hold them: weights, gradients, optimizer, activations, buffers.

`workload_of` counts a recipe once; `memory_of` spreads it over devices. What the engines do was read from live tensors
of two ranks (the tests do so again); offloading needs a GPU and follows DeepSpeed's code alone.

A further precision has its place in `_held`, and its cast in `train.plan.activations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from train.engines.deepspeed import BUCKET_ELEMENTS
from train.engines.options import DeepSpeedOptions
from train.objectives.objective import Objective
from train.objectives.of_recipe import builder_of
from train.plan.activations import Cast, Device, activations_of
from train.plan.batches import batch_of
from train.plan.flops import count_of
from train.plan.quantities import Layout, Memory, Workload
from train.plan.shadow import Shadow
from train.recipe import Recipe

_MOST_ROWS = 16
_LIVE_PARAMETERS = 1_000_000_000
"Parameters that DeepSpeed keeps gathered at ZeRO-3, its `stage3_max_live_parameters`; each is used again that soon."


def workload_of(recipe: Recipe, device: Device = "cuda") -> Workload:
    """What the recipe costs, in its own precision, and by the way in which its engine casts to bf16.

    Args:
        recipe: any.
        device: "cuda" counts activations with fused attention and norms, "cpu" as torch computes on a CPU.

    Raises:
        ConfigError: when the recipe does not tell what a batch holds (`train.plan.batches`).
    """
    build = builder_of(recipe)
    with Shadow().building():
        objective = build()
    found, cast = count_of(recipe), cast_of(recipe, device)
    # What a micro-batch keeps grows with its rows from a part that does not: two sizes tell both.
    sizes = 1, max(2, min(recipe.batch.micro or recipe.batch.global_, _MOST_ROWS))
    batches = [batch_of(recipe, rows) for rows in sizes]
    plain, checkpointed = (
        [activations_of(build, batch, device=device, cast=cast, recompute=recompute) for batch in batches]
        for recompute in (False, True)
    )
    per_row, fixed = _line(sizes, [item.saved for item in plain])
    again = [kept.saved + item.of_a_block for kept, item in zip(checkpointed, plain, strict=True)]
    checkpointed_per_row, checkpointed_fixed = _line(sizes, again)
    parameters = list(objective.parameters())
    return Workload(
        parameters=sum(item.numel() for item in parameters),
        trained=sum(item.numel() for item in parameters if item.requires_grad),
        largest_layer=largest_layer(objective),
        layers=len(objective.blocks()),
        tokens_per_row=found.tokens,
        flops=found.flops,
        activation_bytes_per_row=per_row,
        checkpointed_activation_bytes_per_row=checkpointed_per_row,
        bytes_per_row_read=sum(item.nbytes for item in batches[0].values()),
        activation_bytes=fixed,
        checkpointed_activation_bytes=checkpointed_fixed,
        brief_bytes=plain[-1].brief,
        int8_flops=found.int8 / (found.rows * found.tokens),
        rounded_bytes=plain[-1].rounded,
    )


def cast_of(recipe: Recipe, device: Device = "cuda") -> Cast:
    """How the engine of the recipe brings bf16 in; with int8, to what is not in 8 bits."""
    if recipe.precision == "float32":
        return "none"
    if recipe.precision == "int8":
        return "autocast" if recipe.autocasts(device) else "none"
    is_sharded = isinstance(recipe.engine, DeepSpeedOptions) and recipe.engine.zero > 0
    return "weights" if is_sharded else "autocast"


def largest_layer(objective: Objective) -> int:
    """Parameters of the largest part that is gathered whole: a block, or what stands beside them."""
    blocks = objective.blocks()
    inside = {part for block in blocks for part in block.modules()}
    others = [part for part in objective.modules() if part not in inside]
    sizes = [sum(item.numel() for item in block.parameters()) for block in blocks]
    return max(sizes + [sum(item.numel() for item in part.parameters(recurse=False)) for part in others])


def memory_of(workload: Workload, layout: Layout) -> Memory:
    """Bytes on each device, at the peak of a step.

    The batch, what the allocator cannot use (fragments), and the context of CUDA are not in it.
    """
    held, rows = _held(workload, layout), layout.micro_rows
    if layout.recompute:
        activations = workload.checkpointed_activation_bytes_per_row * rows + workload.checkpointed_activation_bytes
    else:
        activations = workload.activation_bytes_per_row * rows + workload.activation_bytes
    # Once gradients are reduced as a whole, activations are gone.
    buffers = max(held.in_backward + workload.brief_bytes, held.after_backward - activations)
    return Memory(held.weights, held.gradients, held.optimizer, activations, buffers, held.host)


@dataclass(frozen=True)
class _Held:
    weights: int
    gradients: int
    optimizer: int
    in_backward: int = 0
    "Buffers beside activations."
    after_backward: int = 0
    "Buffers of a reduction when backward is through."
    host: int = 0


def _held(workload: Workload, layout: Layout) -> _Held:
    """What does not depend on the batch."""
    held = _of_engine(workload, layout)
    return replace(held, weights=held.weights + workload.rounded_bytes)


def _of_engine(workload: Workload, layout: Layout) -> _Held:
    """What engines hold of float32 and bf16 parameters."""
    size, trained = workload.parameters, workload.trained
    share, bucket = -(-trained // layout.world_size), min(BUCKET_ELEMENTS, size)
    # Masters and two moments, float32 all.
    state, one_layer = 12 * share, workload.largest_layer
    is_bf16, is_offloaded = layout.precision == "bf16", layout.offload != "none"
    unit = 2 if is_bf16 and layout.zero else 4
    if layout.zero == 0:
        # The weights are float32, their own masters. What reduces them copies a bucket of gradients.
        return _Held(4 * size, 4 * trained, 8 * trained, after_backward=4 * min(bucket, trained))
    if layout.zero == 1 and is_bf16 and not is_offloaded:
        # DeepSpeed's BF16_Optimizer: all gradients as backward makes them, and in float32.
        return _Held(2 * size, 6 * trained, state, after_backward=4 * min(bucket, trained))
    if layout.zero == 1:
        # Sharded only when the last micro-batch is through.
        held = _Held(unit * size, 4 * trained, state, in_backward=unit * bucket)
    elif layout.zero == 2:
        held = _Held(unit * size, 4 * share, state, in_backward=unit * (bucket + one_layer))
    else:
        gathered = min(size, _LIVE_PARAMETERS + one_layer)
        weights = unit * -(-size // layout.world_size)
        held = _Held(weights, 4 * share, state, in_backward=unit * (bucket + one_layer + gathered))
    return _offloaded(held, layout, share) if is_offloaded else held


def _offloaded(held: _Held, layout: Layout, share: int) -> _Held:
    """Optimizer state on the host, and there a float32 gradient of every master weight (ZeRO-3 keeps two)."""
    host = held.optimizer + (8 if layout.zero == 3 else 4) * share
    gradients = held.gradients if layout.zero == 1 else 0
    moved = layout.offload == "all"
    return replace(
        held,
        weights=0 if moved else held.weights,
        gradients=gradients,
        optimizer=0,
        host=host + (held.weights if moved else 0),
    )


def _line(sizes: tuple[int, int], values: Sequence[int]) -> tuple[int, int]:
    """Slope and intercept of the line through two points; neither below 0."""
    slope = (values[1] - values[0]) // (sizes[1] - sizes[0])
    return slope, max(0, values[0] - slope * sizes[0])
