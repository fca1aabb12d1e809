"""The time of a training step by a roofline with communication. Arithmetic on counts; no loop over ranks.

What is assumed, once for all devices and models:

- products of matrices reach a share of the dense peak (`GEMM_OF_BEST` of the best shape known; of 8-bit matrices
  `INT8_GEMM` of their own peak), attention its own; with int8 attention and the head are in bf16;
- everything else is bound by memory: `PASSES` over what forward saves, and the optimizer's own traffic;
- collectives are rings through all GPUs, as fast as their slowest link; while a layer computes, those of others run
  beside it, so only one layer's share is always waited for;
- nothing else takes time: no data wait, no stragglers, no host that is slower than the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from configs.errors import ConfigError
from train.plan.gpus import Generation, Gpu, Network, catalogue, precision_of_mfu
from train.plan.quantities import Layout, Precision, Workload

Case = Literal["low", "typical", "high"]
Software = Literal["eager", "compiled"]

CASES: tuple[Case, ...] = ("low", "typical", "high")
GEMM_OF_BEST: dict[Case, float] = {"low": 0.75, "typical": 0.9, "high": 1.0}
"""Of the best shape that a search found. Typical: 720 TFLOP/s of an H100's 794.5, 620 of an MI300X's 668.4, on shapes
of language models (SemiAnalysis, MI300X vs H100 vs H200 Benchmark Part 1, 2024). Low: an assumption."""
PASSES: dict[Software, float] = {"eager": 5.0, "compiled": 3.0}
"""How often a byte that forward saves crosses memory. Eager: written and read forward, read backward, its gradient
written and read. Compiled: fusion spares the read forward and a pass over the gradient. An assumption, not measured."""
INT8_GEMM: dict[Case, float] = {"low": 0.29, "typical": 0.4, "high": 0.65}
"""Of the int8 peak, for products whose tiles have their own scales. Low: published, 1.6 times as fast as float16 on an
RTX 4090 (Xi et al. 2024), whose int8 peak is 4 times as high. Typical and high: assumptions."""
ATTENTION_AGAIN = 3.5 / 3
"Fused attention computes its scores a second time in backward: 7 products for 6 (Dao 2023, section 4.1)."
MEMORY_SHARE = 0.85
"Of the memory bandwidth of a data sheet, for streaming kernels. An assumption."
LINK_SHARE = 0.8
"Of the bandwidth of links and networks, for large messages of NCCL. An assumption; nccl-tests measures yours."
LINK_LATENCY_S = 3.4e-6
"One step of a ring inside a node (NCCL src/graph/tuning.cc, NVLink, ring, simple protocol)."
HOST_MEMORY_BANDWIDTH = 200e9
"Bytes/s of a node's main memory, for the optimizer on the host. An assumption."
OPTIMIZER_BYTES = 30
"AdamW per weight: gradient, master weight and two moments read, three written, the weight in 16 bit written."


@dataclass(frozen=True)
class Cluster:
    """What the run is queued for."""

    gpu: Gpu
    network: Network
    gpus_per_node: int
    nodes: int

    @property
    def world_size(self) -> int:
        """GPUs in all."""
        return self.gpus_per_node * self.nodes

    @property
    def generation(self) -> Generation:
        """What kernels reach on it."""
        return catalogue().generations[self.gpu.generation]


@dataclass(frozen=True)
class Step:
    """Seconds of one optimizer step by what they are spent on, and what follows from them."""

    products: float
    attention: float
    memory: float
    "Element-wise work."
    optimizer: float
    communication: float
    "All collectives; most of it runs beside computing."
    waiting: float
    "The part of communication that nothing hides."
    offload: float
    model_flops: float
    "Of the whole global batch."
    tokens: int
    "Of the whole global batch."

    @property
    def seconds(self) -> float:
        """The step."""
        return self.products + self.attention + self.memory + self.optimizer + self.waiting + self.offload

    def mfu(self, peak: float, world_size: int) -> float:
        """Model FLOPs (causal attention counted by halves, no recomputation) over dense peak."""
        return self.model_flops / (self.seconds * peak * world_size)


def peak_of(gpu: Gpu, precision: Precision) -> float:
    """Dense peak FLOP/s that MFU is a share of (`precision_of_mfu`).

    Raises:
        ConfigError: when the device lacks what the precision computes with.
    """
    for needed in {precision, precision_of_mfu(precision)}:
        if needed not in gpu.flops:
            known = ", ".join(gpu.flops)
            raise ConfigError(f"precision={precision}: {gpu.title} has no {needed} arithmetic; it has {known}.")
    return gpu.flops[precision_of_mfu(precision)]


def gemm_rate(gpu: Gpu, precision: Precision, case: Case) -> float:
    """FLOP/s that products of matrices of this precision reach.

    Raises:
        ConfigError: when the device lacks what the precision computes with.
    """
    peak = peak_of(gpu, precision)
    if precision == "int8":
        return gpu.flops["int8"] * INT8_GEMM[case]
    return peak * catalogue().generations[gpu.generation].best_gemm * GEMM_OF_BEST[case]


def ring_seconds(volume: float, cluster: Cluster) -> float:
    """A reduce-scatter or all-gather of `volume` bytes in all: each rank sends (n - 1)/n of them to its neighbour.

    The ring enters and leaves every node once, so a node's network carries the volume once, and a link too.
    """
    inside, nodes = cluster.gpus_per_node, cluster.nodes
    if cluster.world_size == 1:
        return 0.0
    share = (cluster.world_size - 1) / cluster.world_size * volume
    slowest = min(
        cluster.gpu.link if inside > 1 else float("inf"), cluster.network.per_node if nodes > 1 else float("inf")
    )
    # Hierarchical: once along a node, once along the nodes. A flat ring would wait longer.
    latency = (inside - 1) * LINK_LATENCY_S + (nodes - 1) * cluster.network.latency
    return share / (LINK_SHARE * slowest) + latency


def step_time(
    workload: Workload, layout: Layout, cluster: Cluster, rows: int, software: Software, case: Case = "typical"
) -> Step:
    """The time of an optimizer step.

    Args:
        workload: one row of the recipe.
        layout: how it is spread; its world size is the cluster's.
        cluster: the machines.
        rows: of the global batch, a multiple of micro-batches on all ranks.
        software: how element-wise work runs.
        case: which end of the range of efficiencies.

    Raises:
        ConfigError: when the device lacks the precision.
    """
    num_micro = rows // (layout.world_size * layout.micro_rows)
    tokens = workload.tokens_per_row * layout.micro_rows
    products, attention = _computing(workload, layout, cluster, tokens, case)
    kept = workload.activation_bytes_per_row * layout.micro_rows + workload.activation_bytes + workload.brief_bytes
    again = 4 / 3 if layout.recompute else 1.0
    memory = PASSES[software] * again * kept / (MEMORY_SHARE * cluster.gpu.memory_bandwidth)
    computing = products + attention + memory
    communication, waiting = _communication(workload, layout, cluster, computing, num_micro)
    share = workload.trained / (layout.world_size if layout.zero else 1)
    on_device = OPTIMIZER_BYTES * share / (MEMORY_SHARE * cluster.gpu.memory_bandwidth)
    return Step(
        products=num_micro * products,
        attention=num_micro * attention,
        memory=num_micro * memory,
        optimizer=on_device if layout.offload == "none" else 0.0,
        communication=communication,
        waiting=waiting,
        offload=_offload(layout, cluster, share, num_micro),
        model_flops=workload.flops.per_token(workload.tokens_per_row) * workload.tokens_per_row * rows,
        tokens=workload.tokens_per_row * rows,
    )


def _computing(workload: Workload, layout: Layout, cluster: Cluster, tokens: int, case: Case) -> tuple[float, float]:
    """Seconds of products and of attention in one micro-batch; recomputing repeats the forward third."""
    peak, generation = peak_of(cluster.gpu, layout.precision), cluster.generation
    again = 1 if layout.recompute else 0
    around: Precision = "bf16" if layout.precision == "int8" else layout.precision
    products = (workload.flops.constant - workload.int8_flops) / gemm_rate(cluster.gpu, around, case)
    if workload.int8_flops:
        products += workload.int8_flops / gemm_rate(cluster.gpu, "int8", case)
    attention = workload.flops.per_length * workload.tokens_per_row * tokens * (ATTENTION_AGAIN + again / 3)
    attention_share = generation.attention[CASES.index(case)]
    return products * tokens * (1 + again / 3), attention / (peak * attention_share)


def _communication(
    workload: Workload, layout: Layout, cluster: Cluster, computing: float, num_micro: int
) -> tuple[float, float]:
    """Seconds of collectives in a step, and those of them that are waited for.

    Volumes for P parameters (Rajbhandari et al. 2020, section 7): stages 0 and 1 reduce once a step, 2P in all; stage 2
    reduces each micro-batch and gathers once a step; stage 3 gathers for forward and for backward and reduces, each
    micro-batch. Stages 2 and 3 send numbers as they are computed, stages 0 and 1 send float32 gradients.
    """
    unit = 2 if layout.precision == "bf16" else 4
    layers = max(1, workload.layers)

    def collective(volume: float) -> float:
        return layers * ring_seconds(volume / layers, cluster)

    reduced = collective((unit if layout.zero >= 2 else 4) * workload.trained)
    if layout.zero == 3:
        each = 2 * collective(unit * workload.parameters) + reduced
        return num_micro * each, num_micro * _waited(each, computing, layers)
    # Reductions start when backward does: two thirds of computing.
    gathered = reduced if layout.zero == 0 else collective(unit * workload.trained)
    times = num_micro if layout.zero == 2 else 1
    if layout.zero == 0:
        return reduced + gathered, _waited(reduced + gathered, computing * 2 / 3, layers)
    return times * reduced + gathered, times * _waited(reduced, computing * 2 / 3, layers) + gathered


def _waited(communication: float, computing: float, layers: int) -> float:
    """One layer's share has nothing to hide behind; the rest hides as far as computing lasts."""
    return max(communication - computing * (1 - 1 / layers), communication / layers)


def _offload(layout: Layout, cluster: Cluster, share: float, num_micro: int) -> float:
    """Gradients to the host, its update, weights back; parameters too when all is offloaded. Nothing hides it."""
    if layout.offload == "none":
        return 0.0
    unit = 2 if layout.precision == "bf16" else 4
    moved = 2 * unit * share + (2 * num_micro * unit * share if layout.offload == "all" else 0.0)
    update = OPTIMIZER_BYTES * share * cluster.gpus_per_node / HOST_MEMORY_BANDWIDTH
    return moved / (LINK_SHARE * cluster.gpu.pcie) + update
