"""One transformer block and its operators, forward and backward: bf16, bf16 compiled, and 8 bits, on a GPU.

    python -m benchmarks.int8                                    a table (some minutes with compilation)
    python -m benchmarks.int8 --width 1024 --tokens 16384 --json
    python -m benchmarks.int8 --device cpu --width 64 --tokens 64 --rounds 2     tries the script; no figure of anything

Contenders are timed in turn, round after round, by CUDA events: clocks that change meet all of them. It has been
run on no GPU so far, so there are no figures. What is predicted: `polytrain plan RECIPE --gpu NAME --operators`.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.int8.arithmetic import arithmetic_of
from model.int8.block import to_int8
from model.int8.operators import activation, boundary, dropout, linear, norm, residual
from model.int8.operators.wire import Wire, draw_noise
from model.int8.options import Int8Options
from model.int8.quant_tensor import Format
from model.options import TransformerOptions
from model.transformer import Transformer

HELD = Format(kernels="auto")
EPS, DROPPED = 1e-5, 0.1
CONTENDERS = ("bf16", "bf16 compiled", "int8")


@dataclass(frozen=True)
class Work:
    """What is timed: forward, and the gradients of these."""

    forward: Callable[[], Tensor | tuple[Tensor, ...]]
    inputs: list[Tensor]


def main() -> int:
    options = arguments()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks.int8: there is no CUDA device, so there is nothing to measure.", file=sys.stderr)
        return 2
    torch.manual_seed(0)
    rows = []
    for name, contenders in {**operators(options), "block": block(options)}.items():
        times = interleaved(contenders, options)
        rows.append({"operator": name} | {which: spread(values) for which, values in times.items()})
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    if options.json:
        print(json.dumps({"device": device, "width": options.width, "tokens": options.tokens, "rows": rows}, indent=1))
        return 0
    print(f"{device}, {options.tokens} tokens, width {options.width}; ms forward and backward, median [least, most]\n")
    print("| operator | bf16 | bf16 compiled | int8 | bf16 / int8 | compiled / int8 |\n|---|---|---|---|---|---|")
    for row in rows:
        cells = [f"{row[which][1]:.3f} [{row[which][0]:.3f}, {row[which][2]:.3f}]" for which in CONTENDERS]
        ratios = [f"{row[which][1] / row['int8'][1]:.2f}" for which in CONTENDERS[:2]]
        print(f"| {' | '.join([row['operator'], *cells, *ratios])} |")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=4096, help="of the model; the feed-forward has 4 times as much")
    parser.add_argument("--tokens", type=int, default=8192, help="of a micro-batch, in rows of 1,024 (or fewer)")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def operators(options: argparse.Namespace) -> dict[str, dict[str, Work]]:
    """By name, the same work by every contender."""
    device, width, tokens = options.device, options.width, options.tokens

    def stream(num_columns: int) -> Tensor:
        return torch.randn(tokens, num_columns, device=device)

    def wire(num_columns: int) -> Wire:
        return Wire(*(part.detach().requires_grad_() for part in boundary.quantise(stream(num_columns), HELD)))

    def plain(module: nn.Module, *widths: int) -> dict[str, Work]:
        module = module.to(device, torch.bfloat16)
        given = [stream(num_columns).bfloat16().requires_grad_() for num_columns in widths]
        compiled = torch.compile(module)
        inputs = [*given, *module.parameters()]
        return {"bf16": Work(lambda: module(*given), inputs), "bf16 compiled": Work(lambda: compiled(*given), inputs)}

    gain = torch.ones(width, device=device, requires_grad=True)
    shift = torch.zeros(width, device=device, requires_grad=True)
    weight = torch.randn(4 * width, width, device=device, requires_grad=True)
    rounded = arithmetic_of(HELD, weight.device).quantise(weight.detach())
    x, hidden, up, residue = wire(width), wire(4 * width), wire(4 * width), stream(width).requires_grad_()
    of = boundary.moments(x, HELD)
    int8 = {
        "linear": Work(lambda: linear.linear(x, weight, rounded, None, HELD, draw_noise()), [*x, weight]),
        "layer norm": Work(lambda: norm.layer_norm(x, of, gain, shift, EPS, HELD, draw_noise()), [*x, gain, shift]),
        "rms norm": Work(lambda: norm.rms_norm(x, of, gain, EPS, HELD, draw_noise()), [*x, gain]),
        "gelu": Work(lambda: activation.activate(hidden, "gelu", HELD, draw_noise()), [*hidden]),
        "swiglu": Work(lambda: activation.activate_gated(hidden, up, "silu", HELD, draw_noise()), [*hidden, *up]),
        "dropout": Work(lambda: dropout.dropout(x, DROPPED, HELD, draw_noise().seed), [*x]),
        "addition": Work(lambda: residual.add(residue, x, HELD, draw_noise())[0], [residue, *x]),
        "3 ways": Work(lambda: flattened(boundary.fork(x, HELD, draw_noise(), 3)), [*x]),
    }
    in_bf16 = {
        "linear": plain(nn.Linear(width, 4 * width, bias=False), width),
        "layer norm": plain(nn.LayerNorm(width), width),
        "rms norm": plain(nn.RMSNorm(width), width),
        "gelu": plain(nn.GELU(), 4 * width),
        "swiglu": plain(_Computed(lambda gate, up: nn.functional.silu(gate) * up), 4 * width, 4 * width),
        "dropout": plain(nn.Dropout(DROPPED), width),
        "addition": plain(_Computed(torch.add), width, width),
        "3 ways": plain(_Computed(lambda x: (x.view_as(x), x.view_as(x), x.view_as(x))), width),
    }
    return {name: contenders | {"int8": int8[name]} for name, contenders in in_bf16.items()}


class _Computed(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *given: Tensor) -> Any:
        return self._function(*given)


def flattened(wires: Sequence[Wire]) -> tuple[Tensor, ...]:
    """The tensors of several wires."""
    return tuple(part for wire in wires for part in wire)


def block(options: argparse.Namespace) -> dict[str, Work]:
    """A causal GPT block with heads of 64; in 8 bits under autocast, as in training."""
    length = min(1024, options.tokens)
    tree = {
        "embedder": {"kind": "text", "vocab_size": 32, "max_length": length},
        "dim": options.width,
        "num_layers": 1,
        "mixer": {"kind": "attention", "num_heads": options.width // 64},
        "feed_forward": "gelu",
        "norm": "layer",
        "positions": "learned",
    }
    model = Transformer(TransformerOptions.model_validate(tree)).to(options.device)
    in_8_bits = copy.deepcopy(model)
    to_int8(in_8_bits, Int8Options())
    model.to(torch.bfloat16)
    tokens = torch.randint(32, (options.tokens // length, length), device=options.device)
    compiled = torch.compile(model)

    def int8() -> Tensor:
        with torch.autocast(options.device, torch.bfloat16):
            hidden: Tensor = in_8_bits(tokens).x
            return hidden

    inputs = list(model.parameters())
    return {
        "bf16": Work(lambda: model(tokens).x, inputs),
        "bf16 compiled": Work(lambda: compiled(tokens).x, inputs),
        "int8": Work(int8, list(in_8_bits.parameters())),
    }


def interleaved(contenders: dict[str, Work], options: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds of every round but the first three."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(options.rounds + 3):
        for name, work in contenders.items():
            taken = milliseconds(work, options.device)
            if number >= 3:
                found[name].append(taken)
    return found


def milliseconds(work: Work, device: str) -> float:
    """Of forward and backward."""
    mark: Any = _cuda_mark if device == "cuda" else time.perf_counter
    start = mark()
    result = work.forward()
    outputs = [result] if isinstance(result, Tensor) else list(result)
    torch.autograd.grad(outputs, work.inputs, [_gradient(item) for item in outputs], allow_unused=True)
    end = mark()
    if device == "cuda":
        torch.cuda.synchronize()
        return float(start.elapsed_time(end))
    return 1e3 * float(end - start)


def _gradient(output: Tensor) -> Tensor:
    """Of ones; of integers under the name of float8 (`model.int8.operators.wire`), integers."""
    if output.dtype == torch.float8_e4m3fn:
        return torch.ones_like(output, dtype=torch.int8).view(torch.float8_e4m3fn)
    return torch.ones_like(output)


def _cuda_mark() -> Any:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def spread(values: list[float]) -> tuple[float, float, float]:
    """Least, median, most."""
    return min(values), statistics.median(values), max(values)


if __name__ == "__main__":
    sys.exit(main())
