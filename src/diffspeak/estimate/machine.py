"""The machine a study is planned for: what it computes on, and what memory is left for tensors.

Takes a device's name, gives its figures: measured where the device is here, and stated as taken
for granted where it is not.
"""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from diffspeak.errors import UsageError

HEAP, CACHING = 1.7, 1.1
"""Bytes that a C library's heap takes for each byte of live tensors while a model is trained, where
it is not measured (docs/log.md), and a GPU's caching allocator (taken for granted)."""

USUAL = 0.45e9
"""Bytes of a process that has imported torch and transformers, where the system does not tell."""

CONTEXT = 600e6
"""Bytes of a CUDA context and its libraries."""


@dataclass(frozen=True)
class Machine:
    """Where a study is to run.

    Attributes:
        device: What it computes on.
        here: Whether that is here and now, so that it can be measured.
        memory: Bytes the device has; None if unknown.
        program: Bytes of its memory that a process takes before it holds a tensor.
        another: The same of a second such process, which shares the first one's libraries.
        allocator: Bytes taken for each byte of live tensors.
    """

    device: torch.device
    here: bool
    memory: float | None
    program: float
    another: float
    allocator: float


def machine_of(device: str = "auto", memory: float | None = None) -> Machine:
    """The machine of that device.

    Args:
        device: As torch names it, or `auto`: a GPU if there is one here, else the CPU.
        memory: Bytes it has; found out if none are given and it is here.

    Raises:
        UsageError: No such kind of device, or no such amount of memory.
    """
    if memory is not None and not 0 < memory < math.inf:
        raise UsageError(f"a memory of {memory / 1e9:g} GB: expected more than 0, and a number")
    cuda = torch.cuda.is_available()
    try:
        place = torch.device(("cuda" if cuda else "cpu") if device == "auto" else device)
    except RuntimeError as error:
        raise UsageError(f"there is no device {device}: use auto, cpu or cuda") from error
    if place.type not in ("cpu", "cuda"):
        raise UsageError(f"a {place.type} device cannot be planned for: use auto, cpu or cuda")
    if place.type == "cpu":
        return Machine(place, True, memory or _physical(), *resident(), HEAP)
    here = cuda and (place.index or 0) < torch.cuda.device_count()
    if here and memory is None:
        memory = float(torch.cuda.get_device_properties(place).total_memory)
    return Machine(place, here, memory, CONTEXT, CONTEXT, CACHING)


def resident() -> tuple[float, float]:
    """Bytes of memory that this process holds now, and how many of them are its own alone."""
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        _, held, shared, *_ = Path("/proc/self/statm").read_text().split()
    except OSError:
        return USUAL, USUAL
    return float(int(held) * page), float((int(held) - int(shared)) * page)


def peak_memory(*, anew: bool = False) -> float | None:
    """Most bytes of memory that this process has held; None where the system does not tell.

    Args:
        anew: Begin to watch anew: it is what the process holds now.
    """
    try:
        if anew:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return float(found[1]) * 1024 if found else None


def _physical() -> float:
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
