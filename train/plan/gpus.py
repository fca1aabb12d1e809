"""The catalogue of GPUs and networks in gpus.yaml: what vendors promise, and what is known to be reached of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from omegaconf import OmegaConf
from pydantic import Field

from configs.errors import ConfigError
from configs.options import Options, nearest, validate

DevicePrecision = Literal["float32", "tf32", "fp16", "bf16", "int8"]


class Gpu(Options):
    """One device as torch sees it. Bandwidths in bytes/s."""

    title: str
    generation: str
    "Which entry of `generations` tells what is reached."
    names: list[str]
    "What torch.cuda.get_device_name() calls it."
    flops: dict[DevicePrecision, float]
    "Dense peak FLOP/s."
    memory: int = Field(gt=0)
    "Bytes."
    memory_bandwidth: float = Field(gt=0)
    link: float = Field(gt=0)
    "To the other GPUs of the node, in one direction."
    pcie: float = Field(gt=0)
    "To the host, in one direction."
    watts: float = Field(gt=0)
    source: str


class Generation(Options):
    """Shares of the peak that kernels reach."""

    best_gemm: float = Field(gt=0, le=1)
    "Of the fastest shape that a search found."
    gemm_source: str
    attention: list[float] = Field(min_length=3, max_length=3)
    "Low, typical, high: fused attention, forward and backward."
    attention_source: str
    published: str = "none compared"
    "How long published runs took against the plan (docs/planning.md)."


class Network(Options):
    """What joins nodes."""

    per_node: float = Field(gt=0)
    "Bytes/s out of a node, all its ports together."
    latency: float = Field(ge=0)
    "Seconds from one node to the next."
    source: str


class Catalogue(Options):
    """The file."""

    gpus: dict[str, Gpu]
    generations: dict[str, Generation]
    networks: dict[str, Network]


@dataclass(frozen=True)
class Peak:
    """Dense peak FLOP/s of a device in a precision, and who says so."""

    flops: float
    device: str
    source: str


def precision_of_mfu(precision: Literal["float32", "bf16", "int8"]) -> DevicePrecision:
    """Whose peak a run's MFU is a share of: int8 that of bf16, which it replaces, so that the two can be compared."""
    return "bf16" if precision == "int8" else precision


@cache
def catalogue() -> Catalogue:
    """All that is known."""
    path = Path(__file__).with_name("gpus.yaml")
    # OmegaConf's loader reads 1e12 as a number, as for recipes.
    tree = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(tree, dict)
    found = validate(Catalogue, {str(key): value for key, value in tree.items()}, str(path))
    assert isinstance(found, Catalogue)
    return found


def peak_flops(device_name: str, precision: DevicePrecision) -> Peak | None:
    """Dense peak of a device, by what torch.cuda.get_device_name() calls it.

    None for a device that is not in the catalogue, or lacks the precision: nobody guesses a peak. Names are compared
    whole, for a MIG slice, a "Ti" and a "D" have other peaks.
    """
    for gpu in catalogue().gpus.values():
        if device_name in gpu.names and precision in gpu.flops:
            return Peak(gpu.flops[precision], gpu.title, gpu.source)
    return None


def find_gpu(name: str) -> Gpu:
    """The entry `name`.

    Raises:
        ConfigError: naming the nearest.
    """
    return _find(catalogue().gpus, name, "--gpu")


def find_network(name: str) -> Network:
    """The entry `name`.

    Raises:
        ConfigError: naming the nearest.
    """
    return _find(catalogue().networks, name, "--network")


_Entry = TypeVar("_Entry")


def _find(entries: Mapping[str, _Entry], name: str, flag: str) -> _Entry:
    if name not in entries:
        several = [entry for entry in entries if entry.startswith(name)]
        hint = f"it has {', '.join(several)}." if several else nearest(name, entries)
        raise ConfigError(f"{flag} {name}: not in the catalogue; {hint}")
    return entries[name]
