"""How much memory is free, and whether an error means that there was not enough."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device | str = "cpu") -> int:
    """Return how many bytes a program can still take on `device` (on the CPU: within its container's limit)."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        return free if limit == "max" else min(free, max(0, int(limit) - used))
    except (OSError, ValueError):  # no container, or not Linux
        return free


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch raised `error` because an allocation failed, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def in_gigabytes(size: float) -> str:
    """Return a number of bytes in words, as in "1.3 GB"."""
    return f"{size / 1e9:.1f} GB"
