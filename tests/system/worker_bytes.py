"""Started by torchrun: take two steps with one ZeRO stage, print the bytes of live parameter tensors.

The count does not ask the engine: it walks the tensors that the garbage collector knows, takes those
that are (partitions of) parameters of the module, and adds up their distinct storages.
"""

from __future__ import annotations

import gc
import json
import sys

import torch

from data.batches import BatchOptions, BatchPlan
from model.embedders.options import TextOptions
from model.mixers.options import AttentionOptions
from model.options import TransformerOptions
from train.engines.engine import EngineRequest, build_engine
from train.engines.options import DeepSpeedOptions
from train.objectives.objective import build_objective
from train.objectives.options import CausalLMOptions
from train.options import AdamWOptions
from train.state import InitialWeights
from train.world import World

MODEL = TransformerOptions(
    embedder=TextOptions(vocab_size=512, max_length=32), dim=128, num_layers=2, mixer=AttentionOptions(num_heads=4)
)


def main(stage: int) -> None:
    world = World.from_environment()
    with world.process_group():
        plan = BatchPlan.of(BatchOptions(global_=4), world.rank, world.size)
        request = EngineRequest(
            build_objective=lambda: build_objective(CausalLMOptions(), MODEL),
            optimizer=AdamWOptions(lr=1e-3),
            precision="float32",
            clip_norm=1.0,
            num_micro=plan.num_micro,
            micro_rows=plan.micro_rows,
            compile=False,
            recompute=False,
            world=world,
        )
        engine = build_engine(DeepSpeedOptions(zero=stage), request)  # type: ignore[arg-type]
        engine.load(InitialWeights(engine.objective.initial_value, engine.shapes, seed=0))
        tokens = torch.arange(2 * 33).view(2, 33) % 512
        for _ in range(2):
            engine.forward_backward([{"tokens": tokens, "segments": torch.zeros_like(tokens)}], 4 * 32)
            engine.step(1e-3)
        counted = _live_parameter_bytes(engine.objective)
        print(json.dumps({"rank": world.rank, "live": counted, "said": engine.bytes_held()}), flush=True)


def _live_parameter_bytes(module: torch.nn.Module) -> int:
    wanted = {id(item) for item in module.parameters()}
    wanted |= {id(item.ds_tensor) for item in module.parameters() if hasattr(item, "ds_tensor")}
    gc.collect()
    live = [item for item in gc.get_objects() if isinstance(item, torch.Tensor) and id(item) in wanted]
    storages = {item.untyped_storage().data_ptr(): item.untyped_storage().nbytes() for item in live}
    return sum(storages.values())


if __name__ == "__main__":
    main(int(sys.argv[1]))
