"""Side-by-side measurements of data loaders.

    OMP_NUM_THREADS=1 python -m benchmarks.loading                  everything (tens of minutes)
    OMP_NUM_THREADS=1 python -m benchmarks.loading cost shuffle     some of it
    python -m benchmarks.loading --quick                            does it run? (a minute; the figures mean nothing)

Prints one Markdown table per measurement, and writes them to --json with the machine, the versions and the commit.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.loading.figures import Report

MEASUREMENTS = ("cost", "decode", "cold", "remote", "coverage", "resume", "shuffle")
PACKAGES = ("torch", "numpy", "pillow", "webdataset", "datasets", "litdata", "mosaicml-streaming", "megatron-energon")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurements", nargs="*", metavar="NAME", help=f"{', '.join(MEASUREMENTS)} (all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--folder", type=Path, help="where the corpora are written (a temporary folder)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.measurements) - set(MEASUREMENTS))
    if unknown:
        parser.error(f"no measurement {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    torch.set_num_threads(1)
    for expected in ("The given NumPy array is not writ", "'pin_memory' argument is set"):
        warnings.filterwarnings("ignore", message=expected)
    machine = facts()
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    reports = []
    for name in options.measurements or MEASUREMENTS:
        reports.append(measured(name, options.folder and options.folder.resolve(), quick=options.quick))
        print(f"\n{reports[-1].markdown()}", flush=True)
    if options.json:
        tree = {"machine": machine, "quick": options.quick, "reports": [report.tree() for report in reports]}
        options.json.write_text(json.dumps(tree, indent=2) + "\n")


def measured(name: str, folder: Path | None, *, quick: bool) -> Report:
    """The report of one measurement; what it wrote is deleted."""
    module = importlib.import_module(f"benchmarks.loading.{name}")
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"loading-{name}-") as below:
        report: Report = module.run(Path(below), module.QUICK if quick else module.Sizes())
    return report


def facts() -> dict[str, Any]:
    """Commit, processor, versions."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    found: dict[str, Any] = {
        "commit": commit.stdout.strip() or "unknown",
        "cpus": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
