"""Devices that networks can be trained on, each tried for a moment, and pictures that are at hand."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from namprune.data.cifar import CIFAR10, CIFAR100, Cifar, default_root
from namprune.data.folder import list_splits
from namprune.data.imagefolder import available_bytes
from namprune.data.parquet import find_parquet
from namprune.device import describe_environment
from namprune.errors import DataError, NampruneError
from namprune.pruning import prune_model
from namprune.result.checkup import Finding
from namprune.table import counted, quantity


def machine() -> Iterator[Finding]:
    """Processor and accelerators, a step of training on each, and a cut with its proof."""
    here = describe_environment(torch.device("cpu"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{here.device.removeprefix('cpu: ')}, {counted(cores, 'core')} usable, {counted(here.threads, 'thread')}"
    crowded = here.threads > cores
    yield Finding(
        area="device",
        name="cpu",
        state="note" if crowded else "ok",
        found=f"{found}, {quantity(available_bytes(), 'B')} of memory free",
        remedy=f"export OMP_NUM_THREADS={cores}: more threads than cores wait for each other" if crowded else None,
    )
    yield _trained(torch.device("cpu"))
    for index in range(torch.cuda.device_count()):
        yield _gpu(index)
        yield _trained(torch.device("cuda", index))
    if torch.backends.mps.is_available():
        yield Finding(area="device", name="mps", state="ok", found="Apple's GPU")
        yield _trained(torch.device("mps"))
    elif not torch.cuda.is_available():
        found = f"none that torch {torch.__version__} can use; everything works on the CPU, more slowly"
        yield Finding(area="device", name="gpu", state="note", found=found)
    yield _cut()


def pictures(data: str | None) -> Iterator[Finding]:
    """What each data set would find where recipes look, and in `data`."""
    digits = find_spec("sklearn") is not None
    found = "1,797 scans, embedded" if digits else "scikit-learn is not installed"
    remedy = None if digits else "pip install scikit-learn"
    yield Finding(area="data", name="digits", state="ok" if digits else "broken", found=found, remedy=remedy)
    for cifar in (CIFAR10, CIFAR100):
        yield _cifar(cifar, default_root(cifar))
    if data is not None:
        root = Path(data)
        holding = next((cifar for cifar in (CIFAR10, CIFAR100) if (root / cifar.folder).is_dir()), None)
        if holding is None and all(find_parquet(root, split) for split in ("train", "test")):
            yield Finding(area="data", name=data, state="ok", found="parquet files of CIFAR-10 or CIFAR-100")
        else:
            yield _cifar(holding, root) if holding else _folder(data)


def _gpu(index: int) -> Finding:
    try:
        about, (free, total) = torch.cuda.get_device_properties(index), torch.cuda.mem_get_info(index)
    except RuntimeError as error:  # another process has it alone, for example
        return Finding(area="device", name=f"cuda:{index}", state="note", found=_first_line(error))
    memory = f"{quantity(free, 'B')} of {quantity(total, 'B')} free"
    found = f"{about.name}, {memory}, compute capability {about.major}.{about.minor}"
    return Finding(area="device", name=f"cuda:{index}", state="ok", found=found)


def _trained(device: torch.device) -> Finding:
    """Whether a convolution computes forward and backward, and in bf16, too."""
    name = f"{device} trains"
    try:
        _step(device, bf16=False)
    except RuntimeError as error:
        if device.type == "cpu":
            return Finding(area="device", name=name, state="broken", found=_first_line(error))
        remedy = "--device cpu does without it"
        return Finding(area="device", name=name, state="note", found=_first_line(error), remedy=remedy)
    try:
        _step(device, bf16=True)
    except RuntimeError as error:
        found = f"in float32; not in bf16: {_first_line(error)}"
        return Finding(area="device", name=name, state="note", found=found, remedy="--precision fp32")
    return Finding(area="device", name=name, state="ok", found="in float32 and bf16")


def _step(device: torch.device, *, bf16: bool) -> None:
    model, x = _network().to(device), torch.rand(4, 3, 8, 8, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        loss = model(x).square().mean()
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if not all(gradient.isfinite().all() for gradient in gradients):
        raise RuntimeError("a gradient is not finite")


def _cut() -> Finding:
    try:
        pruned = prune_model(_network(), torch.rand(2, 3, 8, 8), ratio=0.5)
    except (NampruneError, RuntimeError, ImportError) as error:
        return Finding(area="device", name="cut", state="broken", found=_first_line(error))
    found = f"half of the channels of three layers, proven to {pruned.proof:.1e}"
    return Finding(area="device", name="cut", state="ok", found=found)


def _network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )


def _cifar(cifar: Cifar, root: Path) -> Finding:
    if (root / cifar.folder).is_dir():
        return Finding(area="data", name=cifar.name, state="ok", found=f"torchvision's files in {root}")
    if all(find_parquet(root, split) for split in ("train", "test")):
        return Finding(area="data", name=cifar.name, state="ok", found=f"parquet files in {root}")
    remedy = "fetched when it is first trained on; or name the folder that holds it with --data"
    return Finding(area="data", name=cifar.name, state="missing", found=f"not in {root}", remedy=remedy)


def _folder(data: str) -> Finding:
    try:
        splits, classes = list_splits(Path(data))
    except DataError as error:
        return Finding(area="data", name=data, state="missing", found=error.message, remedy=error.hint)
    counts = ", ".join(f"{len(listing.files):,} in {split}" for split, listing in splits.items())
    return Finding(area="data", name=data, state="ok", found=f"{len(classes)} classes, pictures: {counts}")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
