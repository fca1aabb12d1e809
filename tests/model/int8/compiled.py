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

from model.int8.kernels import product, quantise

ARCHITECTURES = (80, 89, 90, 100)
_INTEGER_MMA = r"mma\.sync\S*\.s8\.s8\S*|wgmma\.mma_async\S*\.s8\.s8|tcgen05\.mma\S*kind::i8"
_HALF_MMA = r"(?:mma\.sync|wgmma\.mma_async)\S*\.(?:f16|bf16|tf32)\b|tcgen05\.mma\S*kind::(?:f16|tf32)"
_ASYNC_COPY = r"cp\.async\.c[ag]"
_TYPES = {"a": "*i8", "b": "*i8", "q": "*i8", "seed": "i64"} | dict.fromkeys(
    ("x", "y", "scale", "a_scale", "b_scale"), "*fp32"
)
_UNALIGNED = ("seed", "stream", "num_steps", "scale_row")


def figures(kernel: Any, constants: dict[str, int | bool], architecture: int, **options: int) -> dict[str, int]:
    """Instructions, registers, spills and shared memory of one kernel."""
    signature, attributes = {}, {}
    for number, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            continue
        signature[name] = _TYPES.get(name, "i32")
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


def measure() -> dict[str, Any]:
    """Figures of all kernels for all architectures."""
    found: dict[str, Any] = {"triton": triton.__version__}
    for architecture in ARCHITECTURES:
        kernels = {
            "quantise": figures(quantise.quantise_kernel, {"x_column": 1, "NOISY": False}, architecture),
            "quantise with noise": figures(quantise.quantise_kernel, {"x_column": 1, "NOISY": True}, architecture),
            "dequantise": figures(quantise.dequantise_kernel, {"q_column": 1, "scale_column": 1}, architecture),
        }
        sizes = {"M": product.BLOCK_M, "N": product.BLOCK_N}
        how = {"num_warps": product.NUM_WARPS, "num_stages": product.NUM_STAGES}
        kernels["product"] = figures(product.matmul_kernel, sizes, architecture, **how)
        found[f"sm_{architecture}"] = kernels
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
