"""The catalogue: figures that can be derived from others, and names as torch spells them."""

from __future__ import annotations

import pytest

from configs.errors import ConfigError
from train.plan.gpus import catalogue, find_gpu, find_network, peak_flops


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("AMD Instinct MI300X", 1307.4e12),
    ],
)
def test_the_peak_of_a_device_is_dense_and_found_by_torch_s_name(name: str, peak: float) -> None:
    found = peak_flops(name, "bf16")
    assert found is not None
    assert found.flops == peak
    assert found.source


@pytest.mark.parametrize(
    "name", ["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GeForce RTX 3090 Ti", "NVIDIA GeForce RTX 4090 D", "cpu", ""]
)
def test_the_peak_of_another_device_is_unknown(name: str) -> None:
    assert peak_flops(name, "bf16") is None


def test_a_precision_that_a_device_lacks_has_no_peak() -> None:
    assert peak_flops("Tesla V100-SXM2-32GB", "bf16") is None
    assert peak_flops("Tesla V100-SXM2-32GB", "fp16") is not None


def test_peaks_equal_units_times_clock() -> None:
    # Tensor cores: SMs x FLOPs per SM and cycle x boost clock (NVIDIA's architecture whitepapers).
    assert find_gpu("a100-80gb").flops["bf16"] == pytest.approx(108 * 2048 * 1.41e9, rel=0.01)
    assert find_gpu("h100").flops["bf16"] == pytest.approx(132 * 4096 * 1.83e9, rel=0.01)
    assert find_gpu("rtx4090").flops["bf16"] == pytest.approx(128 * 512 * 2.52e9, rel=0.01)
    assert find_gpu("v100").flops["fp16"] == pytest.approx(80 * 1024 * 1.53e9, rel=0.01)


def test_every_device_is_complete_and_its_names_are_its_own() -> None:
    gpus = catalogue().gpus
    names = [name for gpu in gpus.values() for name in gpu.names]
    assert len(names) == len(set(names))
    for gpu in gpus.values():
        assert gpu.generation in catalogue().generations
        assert gpu.flops["float32"] < gpu.flops["fp16"] <= 2300e12
        assert gpu.link >= gpu.pcie


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--gpu h1000: .*did you mean 'h100'"):
        find_gpu("h1000")
    with pytest.raises(ConfigError, match=r"--network ndr4000: .*did you mean 'ndr400'"):
        find_network("ndr4000")


def test_a_name_that_begins_several_lists_them() -> None:
    with pytest.raises(ConfigError, match="it has a100-40gb, a100-80gb, a100-pcie-40gb, a100-pcie-80gb"):
        find_gpu("a100")
