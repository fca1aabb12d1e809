"""What window attention costs: gathered blocks, beside full causal attention and the same window as a dense mask.

    PYTHONPATH=. python benchmarks/attention.py [--tokens 8192] [--window 256] [--rounds 5]

Prints a Markdown table. Method: one layer of attention without projections (q, k, v -> mixed, and backward), float32,
one thread. Every figure comes from a process of its own, and rounds go through all contenders in turn (A B C, A B C),
so that a change of the machine's load meets all of them. Each process makes its mask and runs forward and backward
once to warm up, then once more.

Time is the CPU time of that second pass, mask included. Memory is the highest resident size during that pass (`VmHWM`
of Linux, set back before it) above the size just before it, when q, k, v and the upstream gradient are there and
nothing else: outputs, what is saved for backward, gradients, the mask, and scratch. glibc is told to hand back freed
memory, so that what one operation leaves is not counted for the next.

Full causal attention is torch's fused kernel, which holds no scores: its memory is linear in the tokens already, and
little more than outputs and gradients, which every way must hold. The two dense contenders hold scores or a mask for
every pair.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from model.backends.backend import Request, named
from model.visibility import Causal, Places, Visibility, Window

HEADS, WIDTH = 8, 64
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Contender:
    """A way to attend."""

    title: str
    backend: str
    is_local: bool
    "Whether it sees the window only."


CONTENDERS = {
    "gather": Contender("window, gather", "gather", True),
    "causal": Contender("full causal, sdpa (fused, no mask)", "sdpa", False),
    "dense": Contender("window, sdpa (dense mask)", "sdpa", True),
    "reference": Contender("window, reference (every score)", "reference", True),
}


def rule_of(contender: Contender, window: int) -> Visibility:
    return Causal() & Window(window, 0) if contender.is_local else Causal()


def measure(contender: Contender, *, tokens: int, window: int, rows: int, kv_heads: int) -> dict[str, float]:
    """CPU seconds, and peak MiB above the inputs, of one forward and backward pass."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(rows, tokens, heads, WIDTH).transpose(1, 2) for heads in (HEADS, kv_heads, kv_heads))
    inputs = [x.requires_grad_() for x in (q, k, v)]
    upstream = torch.randn(rows, tokens, HEADS, WIDTH).transpose(1, 2)
    places = Places(torch.arange(tokens)[None])
    rule = rule_of(contender, window)
    request = Request(rule, places, places, torch.device("cpu"), torch.float32, head_width=WIDTH)
    backend = named(contender.backend)

    def run() -> None:
        mixed = backend.attend(*inputs, backend.prepare(request), scale=WIDTH**-0.5)
        torch.autograd.grad(mixed, inputs, upstream)

    run()
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident size starts again from the present one
    before, start = _resident("VmRSS"), time.process_time()
    run()
    return {"seconds": time.process_time() - start, "peak_mib": _resident("VmHWM") - before}


def _resident(field: str) -> float:
    """MiB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def in_a_process(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """One measurement, in a process of its own."""
    sizes = [f"--{key.replace('_', '-')}={getattr(arguments, key)}" for key in ("tokens", "window", "rows", "kv_heads")]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
    }
    command = [sys.executable, __file__, "--only", name, *sizes]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(run.stdout)
    return found


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """A row for every contender; ratios are those of gather, taken within rounds."""
    lines = [
        "| attention | CPU s | gather's share | peak MiB | gather's share |",
        "|---|---|---|---|---|",
    ]
    for name, rounds in found.items():
        cells = [CONTENDERS[name].title]
        for figure, digits in (("seconds", 2), ("peak_mib", 0)):
            values = [of_round[figure] for of_round in rounds]
            shares = [ours[figure] / of_round[figure] for ours, of_round in zip(found["gather"], rounds, strict=True)]
            cells += [_spread(values, digits), "" if name == "gather" else _spread(shares, 2)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float], digits: int) -> str:
    """Median [least, most]."""
    median, least, most = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{median} [{least}, {most}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of a row (8192)")
    parser.add_argument("--window", type=int, default=256, help="tokens seen before a query (256)")
    parser.add_argument("--rows", type=int, default=1, help="rows of the batch (1)")
    parser.add_argument("--kv-heads", type=int, default=HEADS, help=f"key-value heads of {HEADS} query heads ({HEADS})")
    parser.add_argument("--rounds", type=int, default=5, help="processes of every contender (5)")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="which (all)")
    parser.add_argument("--only", choices=CONTENDERS, help="measure this one here, and print JSON")
    arguments = parser.parse_args()
    if arguments.only:
        sizes = {key: getattr(arguments, key) for key in ("tokens", "window", "rows", "kv_heads")}
        print(json.dumps(measure(CONTENDERS[arguments.only], **sizes)))
        return
    names = dict.fromkeys(["gather", *arguments.contenders])
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            found[name].append(in_a_process(name, arguments))
    print(table(found))


if __name__ == "__main__":
    main()
