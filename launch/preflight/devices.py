"""The GPUs of this node: their number and memory, that they compute, and what the driver says of their health.

A node without GPUs passes; one among nodes with GPUs is the odd one out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from xml.etree import ElementTree

import torch

from launch.preflight.report import Result

# Before anything runs, all of a GPU's memory but the driver's own should be free.
_FREE_SHARE = 0.9

_SECONDS_FOR_DRIVER = 20.0

# Of NVIDIA's catalogue of Xid errors, those of the hardware, the driver's firmware and the links. The others (13, 31,
# 43, 45, ...) are what a program does to itself.
_HARDWARE_XIDS = {
    48: "double-bit memory error",
    62: "internal micro-controller halt",
    64: "row remapping failed",
    74: "NVLink error",
    79: "fallen off the bus",
    92: "many single-bit memory errors",
    94: "contained memory error",
    95: "uncontained memory error",
    119: "firmware does not answer",
    120: "firmware error",
    140: "unrecovered memory error",
}

# Slower clocks that a healthy GPU does not have: too hot, or too little power. Idle clocks and power caps are normal.
_SLOWDOWNS = ("hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown", "sw_thermal_slowdown")


def devices() -> Result:
    """Kinds and memory of the GPUs that torch sees; on each one, a product whose value is known."""
    count = torch.cuda.device_count()
    names = [torch.cuda.get_device_name(number) for number in range(count)]
    sizes = [f"{torch.cuda.mem_get_info(number)[1] / 2**30:.0f} GiB" for number in range(count)]
    result = Result(facts={"GPUs": count, "kinds": ", ".join(sorted(set(names))), "GPU memory": ", ".join(sizes)})
    for number in range(count):
        free, total = torch.cuda.mem_get_info(number)
        if free < _FREE_SHARE * total:
            held = (total - free) / 2**30
            result.failures.append(f"GPU {number}: {held:.1f} of {total / 2**30:.0f} GiB are held by another program")
        elif not computes(torch.device("cuda", number)):
            result.failures.append(f"GPU {number}: a matrix product has wrong values")
    return result


def computes(device: torch.device) -> bool:
    """Whether a product of integers below 2^24, exact in float32 in any order, comes out right."""
    size = 512
    numbers = torch.arange(size * size, dtype=torch.float32).reshape(size, size) % 7
    found = (numbers.to(device) @ numbers.to(device)).cpu()
    return torch.equal(found, numbers @ numbers)


def has_driver() -> bool:
    """Whether there is anybody to ask about health."""
    return shutil.which("nvidia-smi") is not None or torch.cuda.is_available()


def health() -> Result:
    """What `nvidia-smi` and the kernel's log say."""
    if shutil.which("nvidia-smi") is None:
        return Result(warnings=["nvidia-smi is not in PATH: the health of the GPUs is not known"])
    done = subprocess.run(
        ["nvidia-smi", "-q", "-x"], capture_output=True, text=True, timeout=_SECONDS_FOR_DRIVER, check=False
    )
    if done.returncode:
        return Result(failures=[f"nvidia-smi fails: {(done.stdout + done.stderr).strip().splitlines()[-1:]}"])
    result = health_of_driver(done.stdout)
    log = subprocess.run(["dmesg"], capture_output=True, text=True, timeout=_SECONDS_FOR_DRIVER, check=False)
    if log.returncode:
        result.figures["xid"] = "not looked for: the kernel's log is not readable"
    else:
        result.failures += health_of_log(log.stdout)
    return result


def health_of_driver(report: str) -> Result:
    """Memory errors, rows that could not be replaced and slowed clocks in the XML of `nvidia-smi -q -x`."""
    result = Result()
    for number, gpu in enumerate(ElementTree.fromstring(report).iter("gpu")):
        errors = sum(int(text) for text in _uncorrectable(gpu) if text.isdecimal())
        if errors:
            result.failures.append(
                f"GPU {number}: {errors} uncorrectable memory error(s) (ECC) since the driver started"
            )
        if gpu.findtext(".//remapped_row_failure") == "Yes":
            result.failures.append(f"GPU {number}: a broken row of its memory could not be replaced")
        if gpu.findtext(".//remapped_row_pending") == "Yes":
            result.failures.append(f"GPU {number}: a broken row of its memory is replaced at the next reset; reset it")
        slow = [name for name in _SLOWDOWNS if _is_active(gpu, name)]
        if slow:
            heat = gpu.findtext(".//temperature/gpu_temp", "unknown")
            result.failures.append(f"GPU {number}: clocks are slowed down ({', '.join(slow)}) at {heat}")
    return result


def health_of_log(log: str) -> list[str]:
    """Errors of hardware (Xid) that the driver wrote to the kernel's log, each once for a GPU."""
    found = re.findall(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)", log)
    named = dict.fromkeys((place, int(code)) for place, code in found if int(code) in _HARDWARE_XIDS)
    return [f"GPU at {place}: Xid {code} ({_HARDWARE_XIDS[code]}) since the node started" for place, code in named]


def _uncorrectable(gpu: ElementTree.Element) -> Iterator[str]:
    # The names below "volatile" differ between drivers: dram_uncorrectable, sram_uncorrectable_parity, ...
    for counts in gpu.iterfind(".//ecc_errors/volatile"):
        yield from (item.text or "" for item in counts if "uncorrectable" in item.tag)


def _is_active(gpu: ElementTree.Element, name: str) -> bool:
    # Drivers before 535 call them throttle reasons.
    tags = (f".//clocks_event_reason_{name}", f".//clocks_throttle_reason_{name}")
    return any(gpu.findtext(tag) == "Active" for tag in tags)
