"""What holds for every prior."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from configs.errors import ConfigError
from configs.options import validate
from data.batches import BatchOptions, BatchPlan
from data.loader import TrainLoader, collate
from data.priors.options import AnyPrior, PriorOptions
from data.priors.prior import between
from data.randomness import stream
from data.sample import Sample
from data.sources import DataOptions, build_source

ROOT = Path(__file__).parents[3]

Digest = Callable[[Sample], str]

GOLDEN = {
    "linear_regression": "8438a694653993f8",
    "structural_causal": "fc169d3a56224c67",
    "forest": "5981469a79767835",
    "bandit": "d80ad33a91678565",
    "copy": "a418943a14978c26",
    "recall": "4a4545dad402ffa8",
    "addition": "c6040c76334bef7a",
}

# Another valid value of every option of the examples.
CHANGES: dict[str, Any] = {
    "seed": 4, "size": 51,
    "dim": 9, "points": 17, "tasks": 6, "pool_seed": 1, "noise_std": 0.25,
    "rows": 33, "min_features": 4, "max_features": 7, "min_classes": 3, "max_classes": 9,
    "categorical": 0.7, "missing": 0.3, "transforms": [{"kind": "permute_classes"}],
    "causal": 0.75, "min_layers": 3, "max_layers": 7, "min_width": 5, "max_width": 33, "max_causes": 11,
    "weight_std": 2.0, "sparsity": 0.5,
    "base_rows": 65, "min_depth": 2, "max_depth": 23, "trees": 2, "candidates": 3,
    "arms": 6, "horizon": 21, "reward_std": 0.2,
    "length": 65, "letters": 25, "min_string": 6, "max_string": 21,
    "key": "before", "key_letters": 3, "answer_letters": 2,
    "min_digits": 2, "max_digits": 9, "reverse": False,
}  # fmt: skip


def test_every_prior_has_an_example_here(example: PriorOptions) -> None:
    assert {cls.model_fields["kind"].default for cls in get_args(AnyPrior)} == GOLDEN.keys()
    assert type(example) in get_args(AnyPrior)


def test_a_sample_is_a_function_of_options_and_index(example: PriorOptions, digest: Digest) -> None:
    source = build_source(example)
    forward = [digest(source[index]) for index in range(12)]
    assert [digest(source[index]) for index in reversed(range(12))] == forward[::-1]
    assert [digest(build_source(example)[index]) for index in (7, 3)] == [forward[7], forward[3]]
    sent = pickle.loads(pickle.dumps(source))
    assert [digest(sent[index]) for index in (11, 0)] == [forward[11], forward[0]]
    assert sent.fingerprint == source.fingerprint
    assert digest(source[np.int64(5)]) == forward[5]


def test_the_global_generator_is_neither_read_nor_moved(example: PriorOptions, digest: Digest) -> None:
    np.random.seed(1)
    one = digest(build_source(example)[0])
    assert np.random.random() == np.random.RandomState(1).random()
    assert digest(build_source(example)[0]) == one


def test_samples_and_seeds_differ(example: PriorOptions, digest: Digest) -> None:
    other = build_source(example.model_copy(update={"seed": 4}))
    source = build_source(example)
    found = [digest(each[index]) for each in (source, other) for index in range(50)]
    assert len(set(found)) == 100


def test_the_bytes_are_those_of_all_machines(example: PriorOptions, digest: Digest) -> None:
    # A change here is a change of everybody's data: raise `version`, and say so in the changelog.
    assert digest(build_source(example)[17]) == GOLDEN[example.kind]


def test_the_bytes_do_not_depend_on_the_vector_instructions(example: PriorOptions, digest: Digest) -> None:
    # What numpy dispatches on (AVX2, AVX-512, ...) is what differs between the machines of a cluster.
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    code = (
        "import pickle, sys\n"
        "from data.sources import build_source\n"
        "source = build_source(pickle.load(sys.stdin.buffer))\n"
        "pickle.dump([source[index] for index in range(20)], sys.stdout.buffer)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": ",".join(found)},
        input=pickle.dumps(example),
        stdout=subprocess.PIPE,
        check=True,
    )
    source = build_source(example)
    assert [digest(sample) for sample in pickle.loads(done.stdout)] == [digest(source[index]) for index in range(20)]


def test_every_option_changes_the_fingerprint(example: PriorOptions) -> None:
    names = type(example).model_fields.keys() - {"kind"}
    changed = [type(example).model_validate({**example.tree(), name: CHANGES[name]}) for name in sorted(names)]
    assert all(options != example for options in changed)
    prints = [build_source(options).fingerprint for options in [example, *changed]]
    assert len(set(prints)) == len(prints)
    assert all(0 <= value < 2**63 for value in prints)


def test_indices_outside_the_epoch_are_refused(example: PriorOptions) -> None:
    source = build_source(example)
    assert len(source) == 50
    for index in (-1, 50):
        with pytest.raises(IndexError, match=f"sample {index} of 50"):
            source[index]


def test_samples_collate(example: PriorOptions) -> None:
    source = build_source(example)
    batch = collate([source[index] for index in range(4)])
    for name, value in source[2].items():
        assert np.array_equal(batch[name][2].numpy(), value, equal_nan=value.dtype.kind == "f")
        assert batch[name].dtype == (torch.float32 if value.dtype.kind == "f" else torch.int64)


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_load_what_one_loads(example: PriorOptions, world_size: int) -> None:
    def load(world_size: int, rank: int) -> tuple[list[int], torch.Tensor]:
        plan = BatchPlan.of(BatchOptions(global_=8, micro=2), rank, world_size)
        loader = TrainLoader(build_source(example), seed=5, plan=plan, start=0, stop=3, workers=0, prefetch=2)
        found = list(loader)
        loader.close()
        field = next(iter(found[0].micro_batches[0]))
        return [step.digest for step in found], torch.stack(
            [torch.stack([micro[field].nan_to_num() for micro in step.micro_batches]) for step in found]
        )

    digests, rows = load(1, 0)
    shares = [load(world_size, rank) for rank in range(world_size)]
    assert [sum(together) % 2**64 for together in zip(*(share[0] for share in shares), strict=True)] == digests
    assert torch.equal(torch.stack([share[1] for share in shares], dim=2).flatten(1, 2), rows)


def test_a_recipe_names_a_prior_by_its_kind(example: PriorOptions) -> None:
    options = validate(DataOptions, {"train": example.tree()}, "test")
    assert isinstance(options, DataOptions)
    assert options.train == example
    assert build_source(options.train).fingerprint == build_source(example).fingerprint


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"kind": "forrest"}, "did you mean 'forest'"),
        ({"kind": "forest", "min_features": 30}, "min_features 30 is above max_features 20"),
        ({"kind": "forest", "min_depth": 30}, "min_depth 30 is above max_depth 24"),
        ({"kind": "structural_causal", "min_layers": 7}, "min_layers 7 is above max_layers 6"),
        ({"kind": "structural_causal", "min_classes": 11}, "min_classes 11 is above max_classes 10"),
        ({"kind": "copy", "length": 8, "min_string": 30}, "min_string 30 is above max_string 20"),
        ({"kind": "recall", "length": 8, "min_string": 4}, "do not fit into a string of min_string 4"),
        ({"kind": "recall", "length": 8, "letters": 4}, "4 letters make 16 keys of 2; expected at least max_string 20"),
        ({"kind": "addition", "length": 8, "min_digits": 9}, "min_digits 9 is above max_digits 8"),
        ({"kind": "copy"}, "train.length: this key is required"),
        ({"kind": "bandit", "arms": 1}, "train.arms"),
    ],
)
def test_a_wrong_key_is_named(tree: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(DataOptions, {"train": tree}, "test")


def test_streams_of_different_uses_differ_and_repeat() -> None:
    uses = [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1)]
    drawn = [stream(*use).integers(2**60) for use in uses]
    assert len(set(drawn)) == 4
    assert drawn == [stream(*use).integers(2**60) for use in uses]


def test_between_includes_both_ends() -> None:
    rng = stream(0, "test")
    assert {between(rng, 2, 4) for _ in range(50)} == {2, 3, 4}


def test_options_do_not_import_the_generators() -> None:
    code = (
        "import data.sources, sys\n"
        "loaded = {name for name in sys.modules if name.startswith('data.priors.')}\n"
        "assert loaded == {'data.priors.options'}, loaded\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
