"""Kernels in Triton's interpreter, and as compiled for GPUs that are not here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="the kernels need the package triton")

ROOT = Path(__file__).parents[3]
SHARED_BYTES = {"sm_80": 163 << 10, "sm_89": 99 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10}
"A block may have (CUDA C++ Programming Guide, table of technical specifications)."
GOLDEN = Path(__file__).with_name("golden.json")


def run(module: str, *arguments: str, **environment: str) -> str:
    """In a process of its own: TRITON_INTERPRET is read when triton is imported."""
    command = [sys.executable, "-m", f"tests.model.int8.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("part", ["quantise", "product", "operators", "additions", "moments", "transposed", "block"])
def test_kernels_are_their_definitions(part: str) -> None:
    run("interpreted", f"check_{part}", TRITON_INTERPRET="1")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return json.loads(run("compiled", TRITON_CACHE_DIR=str(tmp_path_factory.mktemp("cache"))))


@pytest.mark.parametrize("architecture", ["sm_80", "sm_89", "sm_90", "sm_100"])
def test_products_are_of_integers_and_nothing_spills(architecture: str, compiled: dict[str, Any]) -> None:
    products = {name: figures for name, figures in compiled[architecture].items() if "product" in name}
    assert len(products) == 4
    for figures in products.values():
        assert figures["integer_mma"] > 0
        assert figures["half_mma"] == 0
        assert figures["async_copies"] > 0
    for figures in compiled[architecture].values():
        assert figures["stack_bytes"] == 0
        assert figures["registers"] <= 255
        assert figures["shared_bytes"] <= SHARED_BYTES[architecture]


def test_compiled_kernels_are_those_known(compiled: dict[str, Any]) -> None:
    """After a change on purpose: python -m tests.model.int8.compiled > tests/model/int8/golden.json."""
    golden = json.loads(GOLDEN.read_text())
    if golden["triton"] != compiled["triton"]:
        pytest.skip(f"figures are of triton {golden['triton']}, this is {compiled['triton']}")
    assert compiled == golden
