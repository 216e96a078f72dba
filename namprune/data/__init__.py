"""Where the pictures come from. A library that reads files is imported only by the data set that needs it."""

from collections.abc import Callable
from dataclasses import replace

import torch

from namprune import console
from namprune.data.cifar import build_cifar10, build_cifar100
from namprune.data.digits import build_digits
from namprune.data.imagefolder import build_imagefolder
from namprune.data.images import Batch, Contiguous, Data, Images
from namprune.recipe.data import DataSection

__all__ = ["DATASETS", "Batch", "Data", "Images", "build_data"]

DATASETS: dict[str, Callable[..., Data]] = {
    "digits": build_digits,
    "cifar10": build_cifar10,
    "cifar100": build_cifar100,
    "imagefolder": build_imagefolder,
}


def build_data(section: DataSection, *, device: torch.device, channels_last: bool = True) -> Data:
    """The data set that a recipe names, on `device`; batches are channels_last in memory, or contiguous.

    Raises:
        DataError: pictures that are missing, foreign or unusable.
    """
    with console.status(f"reading {section.name}"):
        data = DATASETS[section.name](section, device=device)
    shape = "x".join(map(str, data.input_shape))
    console.detail(
        f"{data.label}: {len(data.train):,} pictures to train on, {len(data.val):,} for validation and "
        f"{len(data.test):,} for the test, of {shape} on {device}; {len(data.classes)} classes"
    )
    if channels_last:
        return data
    return replace(data, train=Contiguous(data.train), val=Contiguous(data.val), test=Contiguous(data.test))
