"""`polytrain plan`: memory, time and cost of a recipe on a cluster, before anybody queues for it. Runs on a laptop."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError
from launch.tables import print_columns, print_table

if TYPE_CHECKING:
    from train.plan.plan import Candidate, Question, Zero
    from train.plan.quantities import Workload
    from train.plan.roofline import Compared
    from train.recipe import Recipe

_EXAMPLES = """\
examples:
  polytrain plan configs/text/gpt2_124m.yaml --gpu a100-80gb
  polytrain plan configs/text/gpt2_124m.yaml --gpu h100 --nodes 4 --network ndr400 --tokens 300e9
  polytrain plan configs/text/gpt2_124m.yaml precision=float32 batch.global=1024 --gpu v100
  polytrain plan configs/text/gpt2_124m.yaml --gpu h100 --explain     every formula with its numbers and sources
  polytrain plan configs/quickstart.yaml precision=int8 --gpu rtx4090 --operators     what 8 bits would be worth
"""
_DAY_S = 86400.0
_CHECKPOINT_BYTES = 12
"Of one weight in a checkpoint: itself and two moments, float32."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    from train import command

    parser.epilog = _EXAMPLES
    command.add_recipe_arguments(parser)
    parser.add_argument("--gpu", required=True, metavar="NAME", help="such as h100, a100-80gb, rtx4090")
    parser.add_argument("--gpus-per-node", type=int, default=8, metavar="N", help="(8)")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="(1)")
    parser.add_argument("--network", default="ndr400", metavar="NAME", help="between nodes (ndr400)")
    parser.add_argument("--tokens", type=float, metavar="N", help="to train on; default: train.steps x batch")
    parser.add_argument("--disk-gb-s", type=float, default=2.0, metavar="X", help="GB/s a node writes and reads (2)")
    parser.add_argument("--operators", action="store_true", help="one block operator by operator, in bf16 and int8")
    parser.add_argument("--explain", action="store_true", help="print formulas with their numbers and sources")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Plan."""
    from train.plan.plan import best, candidates
    from train.recipe import load_recipe

    for flag in ("gpus_per_node", "nodes", "disk_gb_s", "tokens"):
        value = getattr(arguments, flag)
        if value is not None and value <= 0:
            raise ConfigError(f"--{flag.replace('_', '-')} {value}: expected more than 0.")
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    question = _question(recipe, arguments)
    found = candidates(question)
    chosen = best(found)
    shown = chosen or found[-1]
    operators = _operators(recipe, question, shown) if arguments.operators else []
    facts = _facts(recipe, question, shown, arguments)
    if arguments.json:
        rows = [_row(item, question) for item in found]
        overrides = chosen.overrides() if chosen else None
        answer = {"candidates": rows, "recommended": overrides, "facts": facts}
        if arguments.operators:
            answer["operators"] = [asdict(item) for item in operators]
        print(json.dumps(answer, indent=2))
        return
    if arguments.operators:
        _print_operators(operators, question, shown)
        return
    _print_candidates(found, chosen)
    print()
    if chosen is None:
        print(_nothing_fits(found, question))
        return
    print(f"recommended: {' '.join(chosen.overrides())}\n")
    print(
        f"the simplest within 2% of the fastest that fits; {_margin(chosen, question):.0%} of the memory stays free\n"
    )
    print_table(facts)
    if arguments.explain:
        print()
        print_table(_explained(question, chosen))


def _question(recipe: Recipe, arguments: argparse.Namespace) -> Question:
    from train.plan.gpus import find_gpu, find_network
    from train.plan.plan import Question
    from train.plan.time import Cluster

    gpu, network = find_gpu(arguments.gpu), find_network(arguments.network)
    return Question(
        workload_of=_counted(recipe),
        cluster=Cluster(gpu, network, arguments.gpus_per_node, arguments.nodes),
        global_rows=recipe.batch.global_,
        precision=recipe.precision,
        software="compiled" if recipe.train.compile else "eager",
    )


def _counted(recipe: Recipe) -> Any:
    """The workload by ZeRO stage. Counting takes seconds, and only stage 0 differs: there bf16 is autocast."""
    from train.engines.options import DeepSpeedOptions
    from train.plan.memory import workload_of

    @cache
    def count(is_sharded: bool) -> Workload:
        engine = DeepSpeedOptions(zero=1 if is_sharded else 0)
        return workload_of(recipe.model_copy(update={"engine": engine}))

    def by_stage(zero: Zero) -> Workload:
        return count(zero > 0 and recipe.precision == "bf16")

    return by_stage


def _operators(recipe: Recipe, question: Question, chosen: Candidate) -> list[Compared]:
    """Of the first block that can be in 8 bits, for the micro-batch of the layout."""
    from model.options import transformers_of
    from train.plan.roofline import Size, compared

    blocks = [block for model in transformers_of(recipe.model) for block in model.blocks]
    block = next((block for block in blocks if block.int8), blocks[0])
    workload = question.workload_of(chosen.layout.zero)
    length = workload.tokens_per_row
    size = Size(length * chosen.layout.micro_rows, workload.flops.per_length * length / workload.layers)
    try:
        return compared(block, size, question.cluster.gpu)
    except ValueError as error:
        raise ConfigError(f"--operators: {error}.") from None


def _print_operators(found: list[Compared], question: Question, chosen: Candidate) -> None:
    """Times in microseconds."""
    from train.plan.time import CASES, INT8_GEMM

    def micros(pair: tuple[float, float]) -> str:
        return f"{pair[0] * 1e6:,.0f} + {pair[1] * 1e6:,.0f}"

    def times(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    rows = [
        {
            "operator": item.name,
            "bf16 us": micros(item.bf16),
            "int8 us": micros(item.int8["typical"]),
            "faster": " ".join(times(item.faster(case)) for case in CASES),
            "bf16 saved MB": f"{item.saved['bf16'] / 1e6:.1f}",
            "int8": f"{item.saved['int8'] / 1e6:.1f}",
        }
        for item in found
    ]
    tokens = chosen.layout.micro_rows * question.workload_of(chosen.layout.zero).tokens_per_row
    print(f"one block, a micro-batch of {tokens:,} tokens, {question.cluster.gpu.title}; predicted, not measured\n")
    print_columns(list(rows[0]), rows)
    print(
        "\nus: forward + backward. faster: bf16's time over int8's, for 8-bit products at "
        f"{', '.join(str(INT8_GEMM[case]) for case in CASES)} of their peak.\n"
        "Not saved: weights in 8 bits, a byte each, which stay from step to step. See docs/planning.md."
    )


def _facts(recipe: Recipe, question: Question, chosen: Candidate, arguments: argparse.Namespace) -> dict[str, Any]:
    from train.plan.gpus import precision_of_mfu
    from train.plan.time import peak_of

    cluster, workload = question.cluster, question.workload_of(chosen.layout.zero)
    peak = peak_of(cluster.gpu, question.precision)
    low, typical, high = (question.timed(chosen, case) for case in ("low", "typical", "high"))
    world, step = cluster.world_size, typical
    tokens = arguments.tokens or recipe.train.steps * step.tokens
    days = [tokens / item.tokens * item.seconds / _DAY_S for item in (high, typical, low)]
    disk = arguments.disk_gb_s * 1e9
    weights = 4 * (workload.parameters - workload.trained)
    checkpoint = _CHECKPOINT_BYTES * workload.trained + weights
    read = workload.bytes_per_row_read * question.global_rows / step.seconds / cluster.nodes
    flops = workload.flops
    return {
        "cluster": f"{world:,} x {cluster.gpu.title}, {cluster.nodes} node(s), {arguments.network}",
        "parameters": f"{workload.parameters:,}, {workload.trained:,} trained",
        "FLOPs per token": f"{flops.constant:.4g} + {flops.per_length:.4g} x T, T = {workload.tokens_per_row:,}",
        "step": f"{step.seconds:.4g} s ({high.seconds:.4g} to {low.seconds:.4g})",
        "published runs": f"{cluster.generation.published}; see docs/planning.md",
        "of it": ", ".join(f"{name} {part / step.seconds:.0%}" for name, part in _parts(step).items()),
        "tokens/s/GPU": f"{step.tokens / step.seconds / world:,.0f}",
        "MFU": f"{step.mfu(peak, world):.1%} ({low.mfu(peak, world):.1%} to {high.mfu(peak, world):.1%})",
        "MFU counts": f"causal attention by half, nothing recomputed; peak {peak / 1e12:,.4g} TFLOP/s dense "
        f"{precision_of_mfu(question.precision)}: {cluster.gpu.source}",
        "tokens": f"{tokens:.4g} in {tokens / step.tokens:,.0f} steps",
        "days": f"{days[1]:.3g} ({days[0]:.3g} to {days[2]:.3g})",
        "GPU-hours": f"{days[1] * 24 * world:,.4g}",
        "energy": f"{days[1] * 24 * world * cluster.gpu.watts / 1e6:,.4g} MWh, of GPUs at full power",
        "checkpoint": f"{checkpoint / 1e9:.4g} GB, {checkpoint / (disk * cluster.nodes):.3g} s at "
        f"{arguments.disk_gb_s:g} GB/s a node",
        "data": f"{read / 1e6:.4g} MB/s a node",
    }


def _parts(step: Any) -> dict[str, float]:
    names = ("products", "attention", "memory", "optimizer", "waiting", "offload")
    return {name: getattr(step, name) for name in names if getattr(step, name)}


def _row(item: Candidate, question: Question) -> dict[str, Any]:
    memory = asdict(item.memory) | {"device": item.memory.device}
    times = asdict(item.step) | {"seconds": item.step.seconds}
    margin = _margin(item, question)
    return {"layout": asdict(item.layout), "memory": memory, "fits": item.fits, "margin": margin, "step": times}


def _margin(item: Candidate, question: Question) -> float:
    return 1 - item.memory.device / question.cluster.gpu.memory


def _print_candidates(found: list[Candidate], chosen: Candidate | None) -> None:
    kinds = ("weights", "gradients", "optimizer", "activations", "buffers", "device", "host")
    print(
        f"{'zero offload   recompute micro':<32}{''.join(f'{kind:>12}' for kind in kinds)}   GB on a GPU{'step s':>9}"
    )
    for item in found:
        layout = item.layout
        recompute = "blocks" if layout.recompute else "none"
        sizes = "".join(f"{getattr(item.memory, kind) / 1e9:>12.2f}" for kind in kinds)
        verdict = "best" if item is chosen else "fits" if item.fits else "too large"
        name = f"{layout.zero:<5}{layout.offload:<10}{recompute:<10}{layout.micro_rows:>5}"
        print(f"{name:<32}{sizes}   {verdict:<11}{item.step.seconds:>9.3g}")


def _nothing_fits(found: list[Candidate], question: Question) -> str:
    least = min(found, key=lambda item: item.memory.device)
    return (
        f"nothing fits {question.cluster.gpu.title}: with one row, zero={least.layout.zero} "
        f"offload={least.layout.offload} needs {least.memory.device / 1e9:.4g} GB of "
        f"{question.cluster.gpu.memory / 1e9:.4g} GB a GPU. Take more nodes, larger GPUs, or shorter rows."
    )


def _explained(question: Question, chosen: Candidate) -> dict[str, str]:
    from train.plan import time
    from train.plan.plan import MEMORY_USABLE

    cluster, layout, step = question.cluster, chosen.layout, chosen.step
    generation, workload = cluster.generation, question.workload_of(layout.zero)
    peak, bandwidth = time.peak_of(cluster.gpu, layout.precision), cluster.gpu.memory_bandwidth
    again = "1 + 1/3" if layout.recompute else "1"
    per_rank = step.tokens / cluster.world_size
    gemm = time.GEMM_OF_BEST["typical"]
    return {
        "products": f"{step.products:.4g} s = {workload.flops.constant:.4g} FLOPs x {per_rank:,.0f} tokens a rank "
        f"x ({again}) / ({peak:.4g} x {generation.best_gemm} x {gemm})",
        "  peak": cluster.gpu.source,
        f"  {generation.best_gemm}": f"best shape: {generation.gemm_source} (Bekman, ml-engineering, 2025)",
        f"  {gemm}": "shapes of language models, of the best (SemiAnalysis 2024: 720 of 794.5, 620 of 668.4 TFLOP/s)",
        "attention": f"{step.attention:.4g} s = {workload.flops.per_length:.4g} x {workload.tokens_per_row} x "
        f"{per_rank:,.0f} x ({time.ATTENTION_AGAIN:.4g}{' + 1/3' if layout.recompute else ''}) / "
        f"({peak:.4g} x {generation.attention[1]})",
        f"  {generation.attention[1]}": generation.attention_source,
        "memory": f"{step.memory:.4g} s = {time.PASSES[question.software]:g} passes ({question.software}) over what "
        f"forward saves / ({time.MEMORY_SHARE} x {bandwidth:.4g})",
        "optimizer": f"{step.optimizer:.4g} s = {time.OPTIMIZER_BYTES} bytes a weight of the rank's share / "
        f"({time.MEMORY_SHARE} x {bandwidth:.4g}); 0 when it is on the host",
        "communication": f"{step.communication:.4g} s, of which {step.waiting:.4g} s is waited for; a ring: volume x "
        f"(n-1)/n / ({time.LINK_SHARE} x slowest link) + latency; one layer in {workload.layers} is never hidden",
        "  links": f"{cluster.gpu.link / 1e9:g} GB/s in a node; {cluster.network.per_node / 1e9:g} GB/s out of it: "
        f"{cluster.network.source}",
        "  volumes": "Rajbhandari et al. 2020, section 7",
        "offload": f"{step.offload:.4g} s over PCIe at {cluster.gpu.pcie / 1e9:g} GB/s and through "
        f"{time.HOST_MEMORY_BANDWIDTH / 1e9:g} GB/s of host memory",
        "fits": f"{chosen.memory.device / 1e9:.4g} GB <= {MEMORY_USABLE} x {cluster.gpu.memory / 1e9:.4g} GB",
    }
