"""Have the C library keep the memory that a step frees, for the next step to use again.

Training on a CPU frees and asks for the same large blocks thousands of times. glibc gives each one
back to the kernel, which fetches and clears it page by page when it is next asked for: about a
fifth of the time of a small model's step. Knows nothing of torch; does nothing without glibc.
"""

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of two settings in glibc's `malloc.h` (mallopt(3))."""

KEPT = 1 << 30
"""Bytes of free memory at the heap's end that are kept."""

LARGEST = 32 << 20
"""The largest block that comes from the heap; glibc allows no more."""


def give_freed_memory_back() -> None:
    """Give the kernel all that is free now; what a process then grows by is what it needs."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> bool:
    """Keep up to a gigabyte of freed memory in the process; tells whether that was granted."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, KEPT))
