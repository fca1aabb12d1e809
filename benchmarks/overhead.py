"""What the trainer costs per step over the engine underneath used by hand.

    OMP_NUM_THREADS=1 python benchmarks/overhead.py [--rounds 10] [--json]

Method: one process, main-thread CPU time (`time.thread_time`, which spinning worker threads do not
pollute), loops interleaved in rounds (A B C ... A B C ...); the 10th percentile and the median over
all steps, and the difference of 10th percentiles in each round. A loop by hand holds one batch and
does forward, backward, clipping and the optimizer step, with the same parameter groups; ours is
`train.loop.Loop` as `polytrain train` runs it: loader, counting, digest, logging every 10 steps,
checks. The difference is the trainer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from data.batches import BatchPlan
from data.loader import Batch, TrainLoader
from data.sample import Sample
from train.bad_samples import BadSampleLog
from train.checkpoint import Position
from train.efficiency import Efficiency
from train.engines.deepspeed import configuration, import_deepspeed
from train.engines.engine import Engine, EngineRequest, build_engine
from train.engines.options import AccelerateOptions, DeepSpeedOptions
from train.interruption import Interruption
from train.loop import Loop
from train.metrics import MetricsLog
from train.objectives.objective import Objective
from train.optimizer import build_adamw, parameter_groups, set_learning_rate
from train.options import AdamWOptions
from train.profile import Profile
from train.recipe import Recipe, load_recipe
from train.state import InitialWeights
from train.watchdog import Watchdog
from train.world import World

ROWS = 8
TOKENS = 4
OURS = ", ours"
STEPS_PER_ROUND = 40
OPTIMIZER = AdamWOptions(lr=1e-7)  # so small that the stack stays as it is: tiny numbers are slow on CPUs
# Width and depth of a residual stack whose step by hand takes about this long on one 2020s CPU core.
SIZES = {"0.1 ms": (8, 0), "1 ms": (64, 8), "10 ms": (256, 24)}


class Stack(Objective):
    """A residual stack of linear layers that learns nothing in particular."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(width))
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth))

    def num_targets(self, batch: Batch) -> int:
        return batch["x"].shape[0]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        x = batch["x"] * self.scale
        for layer in self.layers:
            x = x + layer(x).relu()
        return {"loss": (x - 2).square().sum()}

    def initial_value(self, name: str, shape: Sequence[int], seed: int) -> Tensor:
        return torch.full(tuple(shape), 0.1 / shape[-1])

    def blocks(self) -> nn.ModuleList:
        return self.layers

    def recompute_blocks(self) -> None:
        raise NotImplementedError


class Constant:
    """A source of the same row."""

    fingerprint = 1

    def __init__(self, width: int) -> None:
        self._row = np.ones((TOKENS, width), dtype=np.float32)

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, index: int) -> Sample:
        return {"x": self._row}


class Clock:
    """Wraps an engine; notes the CPU time of the main thread at the end of every step."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.marks: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def step(self, lr: float) -> Tensor | float:
        norm = self._engine.step(lr)
        self.marks.append(time.thread_time())
        return norm


Runner = Callable[[int], list[float]]


def by_hand(step: Callable[[], None]) -> Runner:
    """A loop written by hand: steps -> CPU seconds of each."""

    def run(steps: int) -> list[float]:
        marks = []
        for _ in range(steps):
            step()
            marks.append(time.thread_time())
        return list(np.diff(marks))

    return run


def torch_step(width: int, depth: int, batch: Batch) -> Callable[[], None]:
    model = _initialised(Stack(width, depth))
    optimizer = _optimizer(model)

    def step() -> None:
        (model(batch)["loss"] / ROWS).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def accelerate_step(width: int, depth: int, batch: Batch) -> Callable[[], None]:
    accelerator = Accelerator(cpu=True)
    model = _initialised(Stack(width, depth))
    model, optimizer = accelerator.prepare(model, _optimizer(model))

    def step() -> None:
        accelerator.backward(model(batch)["loss"] / ROWS)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def deepspeed_step(width: int, depth: int, batch: Batch, options: DeepSpeedOptions) -> Callable[[], None]:
    request = _request(width, depth)
    deepspeed = import_deepspeed(World())
    model = _initialised(Stack(width, depth))
    shapes = {name: tuple(item.shape) for name, item in model.named_parameters()}
    config = configuration(options, request, shapes)
    if not options.zero:
        config["gradient_clipping"] = 1.0
    engine, *_ = deepspeed.initialize(model=model, optimizer=_optimizer(model), config=config)

    def step() -> None:
        engine.backward(engine(batch)["loss"] / ROWS)
        engine.step()

    return step


def ours(width: int, depth: int, options: AccelerateOptions | DeepSpeedOptions, recipe: Recipe, folder: Path) -> Runner:
    world = World()
    engine = build_engine(options, _request(width, depth))
    engine.load(InitialWeights(engine.objective.initial_value, engine.shapes, 0))
    clock = Clock(engine)
    plan = BatchPlan(ROWS, ROWS, 0, 1)
    source = Constant(width)
    position = Position()

    def run(steps: int) -> list[float]:
        nonlocal position
        last = position.step + steps
        train = recipe.train.model_copy(update={"steps": last})
        of_round = recipe.model_copy(update={"train": train})
        ahead = recipe.data.prefetch
        loader = TrainLoader(source, seed=0, plan=plan, start=position.step, stop=last, workers=0, prefetch=ahead)
        clock.marks.clear()
        with (
            MetricsLog(folder / "metrics.jsonl", step=position.step, last=last) as log,
            Watchdog(of_round.train.stall_limit_s, folder, 0) as watchdog,
            Interruption() as interruption,
        ):
            loop = Loop(
                of_round,
                world,
                cast(Engine, clock),
                loader,
                probes={},
                save=lambda _: None,
                bad_samples=BadSampleLog(folder, 0),
                interruption=interruption,
                watchdog=watchdog,
                profile=Profile(None, folder, world, step=position.step),
                efficiency=Efficiency(step_flops=1e9, device="none", peak_flops=1e12),
                log=log,
            )
            position = loop.run(position)
        loader.close()
        return list(np.diff(clock.marks))

    return run


def measure(runners: dict[str, Runner], rounds: int) -> dict[str, list[list[float]]]:
    """Microseconds of every step, by loop and round; a first round warms up and is left out."""
    times: dict[str, list[list[float]]] = {name: [] for name in runners}
    for number in range(rounds + 1):
        for name, run in runners.items():
            found = [seconds * 1e6 for seconds in run(STEPS_PER_ROUND)]
            if number:
                times[name].append(found)
    return times


def _request(width: int, depth: int) -> EngineRequest:
    return EngineRequest(
        build_objective=lambda: Stack(width, depth),
        optimizer=OPTIMIZER,
        precision="float32",
        clip_norm=1.0,
        num_micro=1,
        micro_rows=ROWS,
        compile=False,
        recompute=False,
        world=World(),
    )


def _initialised(model: Stack) -> Stack:
    for name, parameter in model.named_parameters():
        parameter.data.copy_(model.initial_value(name, parameter.shape, 0))
    return model


def _optimizer(model: Stack) -> torch.optim.AdamW:
    optimizer = build_adamw(parameter_groups(model, OPTIMIZER), OPTIMIZER)
    set_learning_rate(optimizer, OPTIMIZER.lr)
    return optimizer


def figures(times: dict[str, list[list[float]]]) -> dict[str, dict[str, Any]]:
    """Of each loop the 10th percentile and the median; of ours, the difference to the loop by hand in each round."""
    found: dict[str, dict[str, Any]] = {}
    for name, rounds in times.items():
        steps = [step for of_round in rounds for step in of_round]
        found[name] = {"p10_us": _p10(steps), "median_us": statistics.median(steps), "steps": len(steps)}
        base = times.get(name.removesuffix(OURS)) if name.endswith(OURS) else None
        if base is not None:
            over = sorted(_p10(ours) - _p10(hand) for ours, hand in zip(rounds, base, strict=True))
            found[name]["over_us"] = {"median": statistics.median(over), "min": over[0], "max": over[-1]}
    return found


def _p10(values: list[float]) -> float:
    return float(np.percentile(values, 10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help=f"rounds of {STEPS_PER_ROUND} steps of every loop (10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    overrides = [f"batch.global={ROWS}", f"batch.micro={ROWS}", f"optimizer.lr={OPTIMIZER.lr}"]
    recipe = load_recipe("configs/quickstart.yaml", [*overrides, "checkpoint.every=1000000"])
    report: dict[str, Any] = {}
    with World().process_group(), tempfile.TemporaryDirectory() as folder:
        torch.use_deterministic_algorithms(True)
        for size, (width, depth) in SIZES.items():
            batch = {"x": torch.ones(ROWS, TOKENS, width)}
            runners: dict[str, Runner] = {"torch": by_hand(torch_step(width, depth, batch))}
            runners["accelerate"] = by_hand(accelerate_step(width, depth, batch))
            runners["accelerate, ours"] = ours(width, depth, AccelerateOptions(), recipe, Path(folder))
            for stage in (0, 2):
                options = DeepSpeedOptions(zero=stage)  # type: ignore[arg-type]
                runners[f"deepspeed zero={stage}"] = by_hand(deepspeed_step(width, depth, batch, options))
                runners[f"deepspeed zero={stage}, ours"] = ours(width, depth, options, recipe, Path(folder))
            times = measure(runners, arguments.rounds)
            report[size] = figures(times)
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    print(
        f"{'raw step':8}  {'loop':24}  {'p10 ms':>8}  {'median ms':>9}  over by hand, ms (median of rounds [min, max])"
    )
    for size, rows in report.items():
        for name, row in rows.items():
            over = row.get("over_us")
            shown = f"{over['median'] / 1e3:+.3f} [{over['min'] / 1e3:+.3f}, {over['max'] / 1e3:+.3f}]" if over else ""
            print(f"{size:8}  {name:24}  {row['p10_us'] / 1e3:8.3f}  {row['median_us'] / 1e3:9.3f}  {shown}")


if __name__ == "__main__":
    main()
