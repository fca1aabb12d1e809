"""Options of every engine. Free of torch."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.options import Kind, Part


class AccelerateOptions(Part):
    """Hugging Face Accelerate: one process, or DDP (replicated parameters) on several ranks."""

    kind: Literal["accelerate"] = "accelerate"

    builds: ClassVar[str] = "train.engines.accelerate:AccelerateEngine"


class DeepSpeedOptions(Part):
    """DeepSpeed ZeRO (Rajbhandari et al. 2020)."""

    kind: Literal["deepspeed"] = "deepspeed"
    zero: Literal[0, 1, 2, 3] = 2
    "What is sharded: 0 nothing, 1 optimizer state, 2 and gradients, 3 and parameters."
    offload: Literal["none", "optimizer", "all"] = "none"
    "What lives in host memory: nothing, the optimizer state, or parameters too (ZeRO-3)."
    config: dict[str, Any] = Field(default_factory=dict)
    "Further DeepSpeed configuration, merged over ours; keys that a recipe already decides are refused."

    builds: ClassVar[str] = "train.engines.deepspeed:DeepSpeedEngine"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.offload == "all" and self.zero != 3:
            raise ValueError(f"offload=all moves sharded parameters and needs zero=3, found zero={self.zero}")
        if self.offload == "optimizer" and self.zero == 0:
            raise ValueError("offload=optimizer needs sharded optimizer state: zero=1, 2 or 3, found zero=0")
        owned = {
            "train_batch_size": "batch.global",
            "train_micro_batch_size_per_gpu": "batch.micro",
            "gradient_accumulation_steps": "batch.micro",
            "gradient_clipping": "train.clip_norm",
            "optimizer": "optimizer",
            "scheduler": "optimizer.schedule",
            "bf16": "precision",
            "fp16": "precision",
        }
        for key, instead in owned.items():
            if key in self.config:
                raise ValueError(f"config.{key} is decided by the key {instead} of the recipe; set that")
        if "stage" in self.config.get("zero_optimization", {}):
            raise ValueError("config.zero_optimization.stage is decided by engine.zero; set that")
        return self


AnyEngine = Annotated[AccelerateOptions | DeepSpeedOptions, Kind()]
