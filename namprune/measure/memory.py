"""Peak memory of a forward pass: what a network and its activations take beside the libraries.

On a CPU that is the rise of the process's resident memory, to be asked in a process of its own, in which nothing else
comes or goes; on CUDA it is what the allocator gave out.
"""

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from namprune.device import deterministic
from namprune.measure.latency import Forward

Start = Callable[[int], Forward]
"""Loads a network to where it runs, and an input of so many pictures."""

FRUGAL = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""For the environment: gives every tensor pages of its own, that go with it. Else what is free but kept for later
counts, by chance up to half of it all."""

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def resident_peak(start: Start, batch: int) -> int | None:
    """Bytes that a network took of this process's memory at most while it ran; None where the system does not tell, as
    Linux alone does.

    A pass goes before, for the pages of the libraries that it touches. What loading alone takes is not counted. Under
    glibc the process is to be started with `FRUGAL`.
    """
    if not _CLEAR_REFS.exists():
        return None
    start(batch)()
    _release()
    before = _status("VmRSS")
    forward = start(batch)
    _release()
    _CLEAR_REFS.write_text("5", encoding="ascii")  # brings the peak down to what is resident now
    for _ in range(2):  # by what the first pass took, onnxruntime plans the memory of those that follow
        forward()
    return _status("VmHWM") - before


def allocated_peak(start: Start, batch: int, *, device: torch.device) -> int:
    """The same of a CUDA device's memory."""
    with deterministic(False):
        start(batch)()  # libraries take their workspaces, and keep them
        before = torch.cuda.memory_allocated(device)
        forward = start(batch)
        torch.cuda.reset_peak_memory_stats(device)
        forward()
    return torch.cuda.max_memory_allocated(device) - before


def _release() -> None:
    """Give back to the system what is free."""
    gc.collect()
    with suppress(AttributeError, OSError):  # other C libraries than glibc have no such call
        ctypes.CDLL(None).malloc_trim(0)


def _status(key: str) -> int:
    """Bytes, of a line `VmRSS:  1234 kB`."""
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))
