"""What 8-bit blocks change at the weights of a trained run: its held-out loss, and gradients, against float32.

    python -m benchmarks.rounding runs/quickstart
    python -m benchmarks.rounding runs/quickstart --step 100 --rows 64 --json

Of every way to hold matrices: the loss of all rows, and how far gradients are from those of float32, relative in the
Euclidean norm, each weight on its own (median, and the worst). Gradients are of the first 8 rows, rounded once.
Nothing is trained, so unlike the end of a run none of this depends on how small differences grow.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.errors import ConfigError, UserError
from data.cache import storage_of
from data.loader import Batch, evaluation_batches
from data.sources import build_source
from model.int8.block import to_int8
from model.int8.options import Int8Options, require_int8
from model.options import transformers_of
from train.inference import TrainedModel
from train.objectives.objective import Objective

FORMS: dict[str, dict[str, Any]] = {
    "8 bits, 32 x 32": {},
    "8 bits, rows": {"tile": "token"},
    "8 bits, columns": {"tile": "channel"},
    "8 bits, matrices": {"tile": "tensor"},
    "6 bits, 32 x 32": {"bits": 6},
    "4 bits, 32 x 32": {"bits": 4},
    "4 bits, matrices": {"bits": 4, "tile": "tensor"},
}
MICRO_ROWS = 8


def main() -> int:
    options = arguments()
    try:
        rows = measure(options)
    except UserError as error:
        print(f"benchmarks.rounding: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    print("| blocks | held-out loss | - float32 | gradients, median | worst |\n|---|---|---|---|---|")
    for row in rows:
        loss = f"{row['loss']:.4f} | {row['difference']:+.4f}"
        print(f"| {row['form']} | {loss} | {row['gradient_median']:.2%} | {row['gradient_worst']:.2%} |")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder, trained in any precision")
    parser.add_argument("--step", type=int, help="of the checkpoint (default: the newest)")
    parser.add_argument("--rows", type=int, default=32, help="held-out rows for the loss; gradients are of the first 8")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for float32 and for every form.

    Raises:
        UserError: when there is no such run, or its blocks have no 8-bit form.
    """
    trained = TrainedModel.of_run(options.run, options.step)
    recipe = trained.recipe
    if recipe.data.validation is None:
        raise ConfigError(f"{options.run}: has no data.validation, so there is nothing to measure on.")
    try:
        require_int8(transformers_of(recipe.model))
    except ValueError as error:
        raise ConfigError(f"{options.run}: {error}.") from None
    source = build_source(recipe.data.validation, storage_of(recipe.data.cache))
    chosen = evaluation_batches(source, rows=options.rows, micro_rows=MICRO_ROWS, rank=0, world_size=1)
    batches = [batch for batch, *_ in chosen]
    exact_loss, exact = loss_and_gradients(trained.objective, batches)
    rows = [row_of("float32", exact_loss, exact_loss, [0.0])]
    for form, held in FORMS.items():
        objective = copy.deepcopy(trained.objective)
        to_int8(objective, Int8Options.model_validate(held | {"kernels": "plain"}))
        loss, found = loss_and_gradients(objective, batches)
        apart = [float((found[name] - exact[name]).norm() / exact[name].norm()) for name in exact if exact[name].any()]
        rows.append(row_of(form, loss, exact_loss, apart))
    return rows


def row_of(form: str, loss: float, exact_loss: float, apart: list[float]) -> dict[str, Any]:
    """Of the table."""
    gradients = {"gradient_median": statistics.median(apart), "gradient_worst": max(apart)}
    return {"form": form, "loss": loss, "difference": loss - exact_loss, **gradients}


def loss_and_gradients(objective: Objective, batches: Sequence[Batch]) -> tuple[float, dict[str, Tensor]]:
    """The mean loss of all batches, and the gradients of the first."""
    torch.manual_seed(0)
    with torch.no_grad():
        total = sum(float(objective(batch)["loss"]) for batch in batches)
    num_targets = sum(objective.num_targets(batch) for batch in batches)
    objective.zero_grad()
    objective(batches[0])["loss"].backward()
    named = objective.named_parameters()
    return total / num_targets, {name: item.grad for name, item in named if item.grad is not None}


if __name__ == "__main__":
    sys.exit(main())
