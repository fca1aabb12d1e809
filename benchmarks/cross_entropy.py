"""Peak memory and time of the loss of an output layer: all logits at once, or a few at a time.

    python -m benchmarks.cross_entropy                       a table (a minute or two)
    python -m benchmarks.cross_entropy --tokens 8192 --dim 1024 --vocab 128000

Each repetition runs in a process of its own; its peak is the highest resident size (`VmHWM` of /proc, reset before)
less the resident size before. (The peak of `getrusage` begins with that of the process that started this one.)
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy, linear

from model.cross_entropy import linear_cross_entropy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--vocab", type=int, default=50_304)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    if options.what:
        print(measured(options.what[1], options)[options.what[0] == "time"])
        return
    sizes = [f"--tokens={options.tokens}", f"--dim={options.dim}", f"--vocab={options.vocab}"]
    print(f"{options.tokens} tokens, width {options.dim}, {options.vocab} entries, float32\n")
    print("| loss | peak, MB | time, s |\n|---|---|---|")
    for which in ("plain", "chunked"):
        figures = {what: [] for what in ("peak", "time")}
        for _ in range(options.repetitions):
            for what, values in figures.items():
                command = [sys.executable, "-m", "benchmarks.cross_entropy", what, which, *sizes]
                values.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        peaks, times = sorted(figures["peak"]), sorted(figures["time"])
        print(
            f"| {which} | {statistics.median(peaks) / 1e6:.0f} [{peaks[0] / 1e6:.0f}, {peaks[-1] / 1e6:.0f}] "
            f"| {statistics.median(times):.2f} [{times[0]:.2f}, {times[-1]:.2f}] |"
        )


def measured(which: str, options: argparse.Namespace) -> tuple[int, float]:
    """Peak bytes above the inputs, and seconds, of one forward and backward pass."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(options.tokens, options.dim, generator=generator, requires_grad=True)
    weight = torch.randn(options.vocab, options.dim, generator=generator, requires_grad=True)
    targets = torch.randint(0, options.vocab, (options.tokens,), generator=generator)
    (x[:8] @ weight[:8].t()).sum().backward()  # what libraries allocate once
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident size starts again from the present one
    before, started = _resident("VmRSS"), time.perf_counter()
    if which == "plain":
        cross_entropy(linear(x, weight), targets, reduction="sum").backward()
    else:
        linear_cross_entropy(x, weight, targets).backward()
    return _resident("VmHWM") - before, time.perf_counter() - started


def _resident(field: str) -> int:
    """Bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


if __name__ == "__main__":
    main()
