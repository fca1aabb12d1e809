"""Public training runs and their published speed: what the planner is compared with, and nothing is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

from train.plan.gpus import find_gpu, find_network
from train.plan.quantities import Flops, Layout, Workload
from train.plan.time import Cluster, Software, step_time


@dataclass(frozen=True)
class Shape:
    """A decoder; `kv` is the width of keys and of values, `hidden` that of its feed-forward."""

    layers: int
    dim: int
    hidden: int
    vocab: int
    length: int
    kv: int
    gated: bool = False
    tied: bool = True

    def workload(self) -> Workload:
        """Counted by hand, independently of the code that counts recipes: bf16, fused attention."""
        block = 2 * self.dim**2 + 2 * self.dim * self.kv + (3 if self.gated else 2) * self.dim * self.hidden
        head = self.vocab * self.dim
        parameters = self.layers * block + head * (1 if self.tied else 2)
        # Saved: input and result of two norms, q, k, v, attended, and two or four tensors of the feed-forward.
        widths = 6 * self.dim + 2 * self.kv + (4 if self.gated else 2) * self.hidden
        saved = 2 * self.layers * self.length * widths + 6 * self.length * self.vocab
        return Workload(
            parameters=parameters,
            trained=parameters,
            largest_layer=max(block, head),
            layers=self.layers,
            tokens_per_row=self.length,
            flops=Flops(6.0 * (self.layers * block + head), 6.0 * self.layers * self.dim),
            activation_bytes_per_row=saved,
            checkpointed_activation_bytes_per_row=2 * self.layers * self.length * self.dim,
            bytes_per_row_read=8 * self.length,
        )


@dataclass(frozen=True)
class Run:
    """Tokens per second and GPU as published."""

    name: str
    source: str
    shape: Shape
    gpu: str
    gpus: int
    micro_rows: int
    num_micro: int
    tokens_per_s: float
    software: Software = "eager"
    recompute: bool = False
    network: str = "ndr400"

    def planned(self) -> float:
        """Tokens per second and GPU by the planner."""
        layout = Layout(self.gpus, 8, 3, "none", self.recompute, "bf16", self.micro_rows)
        cluster = Cluster(find_gpu(self.gpu), find_network(self.network), 8, self.gpus // 8)
        rows = self.gpus * self.micro_rows * self.num_micro
        step = step_time(self.shape.workload(), layout, cluster, rows, self.software)
        return step.tokens / step.seconds / self.gpus

    @property
    def ratio(self) -> float:
        """Planned over published."""
        return self.planned() / self.tokens_per_s


_FOUNDRY = "llm-foundry, scripts/train/benchmarking/README.md"
_TITAN = "torchtitan, benchmarks/llama3_h100_202412_torchtitan.md"
_NARAYANAN = "Narayanan et al. 2021, table 2"
_MPT = {
    "1B": Shape(24, 2048, 8192, 50368, 2048, 2048),
    "3B": Shape(32, 2560, 10240, 50368, 2048, 2560),
    "7B": Shape(32, 4096, 16384, 50368, 2048, 4096),
    "13B": Shape(40, 5120, 20480, 50368, 2048, 5120),
    "30B": Shape(48, 7168, 28672, 50368, 2048, 7168),
    "70B": Shape(80, 8192, 32768, 50368, 2048, 8192),
}
_LLAMA = Shape(32, 4096, 14336, 128256, 8192, 1024, gated=True, tied=False)
_GPT3 = Shape(96, 12288, 49152, 51200, 2048, 12288)


def _gpt3(gpus: int, micro_rows: int, tflops: float) -> Run:
    # Its FLOPs per token, with recomputation: 96 l h^2 (1 + s/6h + V/16lh) (its equation 3).
    per_token = 96 * 96 * 12288**2 * (1 + 2048 / (6 * 12288) + 51200 / (16 * 96 * 12288))
    name = f"GPT-3 175B, ZeRO-3, {gpus} A100"
    speed = tflops * 1e12 / per_token
    return Run(name, _NARAYANAN, _GPT3, "a100-80gb", gpus, micro_rows, 1, speed, recompute=True, network="hdr200")


RUNS = [
    Run("Llama 3.1 8B, 8 H100, eager", _TITAN, _LLAMA, "h100", 8, 2, 1, 5762),
    Run("Llama 3.1 8B, 8 H100, compiled", _TITAN, _LLAMA, "h100", 8, 2, 1, 6667, software="compiled"),
    Run("Llama 3.1 8B, 128 H100, compiled", _TITAN, _LLAMA, "h100", 128, 2, 1, 6514, software="compiled"),
    Run("MPT 1B, 8 H100", _FOUNDRY, _MPT["1B"], "h100", 8, 14, 1, 45455),
    Run("MPT 7B, 8 H100", _FOUNDRY, _MPT["7B"], "h100", 8, 6, 1, 10643),
    Run("MPT 70B, 64 H100", _FOUNDRY, _MPT["70B"], "h100", 64, 8, 4, 1039, recompute=True),
    Run("MPT 1B, 8 A100", _FOUNDRY, _MPT["1B"], "a100-80gb", 8, 14, 4, 20513),
    Run("MPT 3B, 8 A100", _FOUNDRY, _MPT["3B"], "a100-80gb", 8, 10, 2, 10811),
    Run("MPT 7B, 8 A100", _FOUNDRY, _MPT["7B"], "a100-80gb", 8, 6, 2, 4641),
    Run("MPT 13B, 8 A100", _FOUNDRY, _MPT["13B"], "a100-80gb", 8, 2, 3, 2262),
    Run("MPT 30B, 8 A100", _FOUNDRY, _MPT["30B"], "a100-80gb", 8, 3, 21, 916, recompute=True),
    Run("MPT 70B, 64 A100", _FOUNDRY, _MPT["70B"], "a100-80gb", 64, 8, 4, 410, recompute=True, network="roce1600"),
    _gpt3(384, 4, 144),
    _gpt3(768, 2, 88),
    _gpt3(1536, 1, 44),
]
