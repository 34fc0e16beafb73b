"""How much memory is free, giving back what is not needed now, and whether an error means that there was not enough."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

_CGROUP = Path("/sys/fs/cgroup")
_PAGEMAP = Path("/proc/self/pagemap")  # Linux's own account of a process's pages, eight bytes for each
_OF_A_FILE, _SWAPPED, _PRESENT = 1 << 61, 1 << 62, 1 << 63


def free_bytes(device: torch.device | str = "cpu") -> int:
    """Return how many bytes a program can still take on `device` (on the CPU: within its container's limit)."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        kept = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used -= int(kept["inactive_file"]) + int(kept["active_file"])  # what was read of files; given up when needed
        return free if limit == "max" else min(free, max(0, int(limit) - used))
    except (OSError, ValueError, KeyError):  # no container, or not Linux
        return free


def peak_bytes(device: torch.device | str = "cpu") -> int:
    """Return the most memory that this process has held on `device` so far."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def release_pages(tensors: Iterable[Tensor]) -> None:
    """Give back the memory of those tensors that are mapped from a file; their next use reads it from there again.

    The system keeps what it read of a file for as long as there is room, so that reading it again costs next to
    nothing. Tensors in memory of their own stay as they are, and so do mapped ones that were changed since, for which
    the system has made such memory. Only Linux tells them apart: elsewhere nothing is given back.
    """
    try:
        pages = _PAGEMAP.open("rb", buffering=0)
    except OSError:  # not Linux, or a container that hides it
        return
    with pages:
        for tensor in tensors:
            if tensor.device.type != "cpu":
                continue
            # Whole pages only: what lies round the tensor may be in use.
            first = -(-tensor.data_ptr() // mmap.PAGESIZE)
            count = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE - first
            if count <= 0:
                continue
            pages.seek(8 * first)
            states = np.frombuffer(pages.read(8 * count), np.uint64)
            states = states[states & np.uint64(_PRESENT | _SWAPPED) != 0]
            if len(states) and (states & np.uint64(_OF_A_FILE)).all():
                address, size = first * mmap.PAGESIZE, count * mmap.PAGESIZE
                _libc().madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether `error` was raised because an allocation failed, on a GPU or on the CPU.

    torch has an exception of its own for CUDA only; elsewhere its message tells: "can't allocate memory" on Linux and
    macOS, "not enough memory" on Windows, "MPS backend out of memory".
    """
    text = str(error).lower()
    phrases = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(phrase in text for phrase in phrases)


def in_gigabytes(size: float) -> str:
    """Return a number of bytes in words, as in "1.3 GB"."""
    return f"{size / 1e9:.1f} GB"
