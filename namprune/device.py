"""Where tensors live and in which precision they are computed."""

import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import metadata

import torch

from namprune.choices import Precision
from namprune.distributed import own, size
from namprune.errors import UserError
from namprune.result import Environment

PACKAGES = ("namprune", "torch", "torchvision", "torch-pruning", "thop")
"""Whose versions a result names."""


def pick_device(name: str) -> torch.device:
    """The device a recipe names; `auto` is CUDA where there is one, else the CPU.

    Of a group each process has its own.

    Raises:
        UserError: the device is not on this machine, or is one for several processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if size() > 1 and (":" in name or device.type == "mps"):
        raise UserError(f"runtime.device: {name} is one device for {size()} processes", hint="use cuda or cpu")
    device = own(device)
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present[device.type]:
        raise UserError(f"runtime.device: {device} is not on this machine", hint="use auto or cpu")
    if size() > 1 and device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """bf16 autocast where the precision asks for it; `auto` does on CUDA alone."""
    if precision == "bf16" or (precision == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """Until it is left: algorithms that give the same bits each time on one device, or else those that are fastest.

    Where it is on, an operation that has no such algorithm raises RuntimeError. cuBLAS needs no environment variable
    for it: since PyTorch 2.10 each stream has a workspace of its own. Every switch is put back as it was found.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    switches: list[tuple[object, str, bool]] = [(cudnn, "deterministic", on), (cudnn, "benchmark", not on)]
    if on:
        switches += [(cudnn, "allow_tf32", False), (matmul, "allow_tf32", False)]
        switches += [(torch.utils.deterministic, "fill_uninitialized_memory", False)]  # nothing here reads such memory
    before = [getattr(place, name) for place, name, _ in switches]
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        for place, name, value in switches:
            setattr(place, name, value)
        _only_deterministic(on)
        yield
    finally:
        _only_deterministic(algorithms[0], warn_only=algorithms[1])
        for (place, name, _), value in zip(switches, before, strict=True):
            setattr(place, name, value)


def _only_deterministic(on: bool, *, warn_only: bool = False) -> None:
    if (on, warn_only) != (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    ):  # the call loads the compiler, which takes seconds
        torch.use_deterministic_algorithms(on, warn_only=warn_only)


def describe_environment(device: torch.device) -> Environment:
    """Device, threads and versions, for the record of a run."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    versions = {package: metadata.version(package) for package in PACKAGES}
    return Environment(
        device=f"{device.type}: {name}",
        threads=torch.get_num_threads(),
        devices=size(),
        python=platform.python_version(),
        versions=versions,
    )


def _processor() -> str:
    """The processor's marketing name; Linux keeps it where Python does not look."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:  # noqa: PTH123 - a device file, not a path of ours
            names = (line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
            return next(names, platform.machine())
    except OSError:
        return platform.processor() or platform.machine()
