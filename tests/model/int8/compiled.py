"""What the kernels become for each GPU architecture, with no GPU: python -m tests.model.int8.compiled > golden.json

Alignment (tt.divisibility) of pointers and sizes is declared as the launcher would find it; without it Triton leaves
out asynchronous copies, and the figures would be those of a kernel nobody runs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from model.int8.kernels import elementwise, product, quantise, rows

ARCHITECTURES = (80, 89, 90, 100)
_INTEGER_MMA = r"mma\.sync\S*\.s8\.s8\S*|wgmma\.mma_async\S*\.s8\.s8|tcgen05\.mma\S*kind::i8"
_HALF_MMA = r"(?:mma\.sync|wgmma\.mma_async)\S*\.(?:f16|bf16|tf32)\b|tcgen05\.mma\S*kind::(?:f16|tf32)"
_ASYNC_COPY = r"cp\.async\.c[ag]"
_INTEGERS = ("a", "b", "c", "q", "g", "up", "z")
_FLOATS = ("x", "total", "weight", "bias", "mean", "rstd", "variance", "part", "b_part", "scale")
_TYPES = {"seed": "i64", "threshold": "i64"} | dict.fromkeys(_INTEGERS, "*i8") | dict.fromkeys(_FLOATS, "*fp32")
_UNALIGNED = ("seed", "stream", "threshold", "num_steps", "scale_row")
_FLOAT_RESULTS = ("matmul_kernel",)
"Kernels whose y is in high precision."


def figures(
    kernel: Any, constants: dict[str, int | bool], architecture: int, stream: str = "*fp32", **options: int
) -> dict[str, int]:
    """Instructions, registers, spills and shared memory of one kernel; `stream` is the type of the residual stream."""
    signature, attributes = {}, {}
    for number, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            continue
        signature[name] = _type_of(name, kernel.fn.__name__, stream)
        # Strides of scales are widths / 32, which need not be multiples of 16; neither are seeds.
        if name not in _UNALIGNED:
            attributes[(number,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, dict(constants), attributes)
    made = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    ptx = made.asm["ptx"]
    registers, stack = _resources(made.asm["cubin"])
    return {
        "integer_mma": len(re.findall(_INTEGER_MMA, ptx)),
        "half_mma": len(re.findall(_HALF_MMA, ptx)),
        "async_copies": len(re.findall(_ASYNC_COPY, ptx)),
        "registers": registers,
        "stack_bytes": stack,
        "shared_bytes": made.metadata.shared,
    }


def _type_of(argument: str, kernel: str, stream: str) -> str:
    if argument in ("x", "total") or (argument, kernel) == ("y", "dequantise_kernel"):
        return stream
    if argument == "y":
        return "*fp32" if kernel in _FLOAT_RESULTS else "*i8"
    return "*fp32" if argument.endswith("_scale") else _TYPES.get(argument, "i32")


def measure() -> dict[str, Any]:
    """Figures of all kernels for all architectures."""
    found: dict[str, Any] = {"triton": triton.__version__}
    for architecture in ARCHITECTURES:
        sizes = {"M": product.BLOCK_M, "N": product.BLOCK_N}
        rounded = {"M": product.ROUNDED_M, "N": product.ROUNDED_N}
        how = {"num_warps": product.NUM_WARPS, "num_stages": product.NUM_STAGES}
        bf16 = {"stream": "*bf16"}
        gelu, normed = {"GELU": True}, {"CENTRED": True}
        found[f"sm_{architecture}"] = {
            name: figures(kernel, constants, architecture, **options)
            for name, kernel, constants, options in (
                ("quantise", quantise.quantise_kernel, {"x_column": 1, "NOISY": False}, {}),
                ("quantise with noise", quantise.quantise_kernel, {"x_column": 1, "NOISY": True}, {}),
                ("dequantise", quantise.dequantise_kernel, {"q_column": 1, "scale_column": 1}, {}),
                ("quantise bf16", quantise.quantise_kernel, {"x_column": 1, "NOISY": False}, bf16),
                ("dequantise to bf16", quantise.dequantise_kernel, {"q_column": 1, "scale_column": 1}, bf16),
                ("addition bf16", rows.add_kernel, {}, bf16),
                ("addition backward bf16", elementwise.add_backward_kernel, {}, bf16),
                ("product", product.matmul_kernel, sizes, how),
                ("product, rounded", product.matmul_rounded_kernel, rounded | {"BIASED": False, "NOISY": False}, how),
                ("product, bias", product.matmul_rounded_kernel, rounded | {"BIASED": True, "NOISY": False}, how),
                ("product, noise", product.matmul_rounded_kernel, rounded | {"BIASED": False, "NOISY": True}, how),
                ("activation", elementwise.activate_kernel, gelu, {}),
                ("activation backward", elementwise.activate_backward_kernel, gelu, {}),
                ("gated", elementwise.gated_kernel, {"GELU": False}, {}),
                ("gated backward", elementwise.gated_backward_kernel, {"GELU": False}, {}),
                ("dropout", elementwise.mask_kernel, {}, {}),
                ("sum", elementwise.total_kernel, {"THREE": True}, {}),
                ("addition", rows.add_kernel, {}, {}),
                ("addition backward", elementwise.add_backward_kernel, {}, {}),
                ("moments", rows.moments_kernel, {}, {}),
                ("norm", elementwise.normalise_kernel, normed | {"BIASED": True}, {}),
                ("norm backward", rows.normalise_backward_kernel, normed, {}),
                ("sums of columns", rows.column_sums_kernel, {}, {}),
            )
        }
    return found


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers of a thread, and the bytes it spills or stacks."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        listing = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", listing).groups()  # type: ignore[union-attr]
    return int(registers), int(stack)


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=1)
    print()
