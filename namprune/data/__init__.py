"""Where the pictures come from. A library that reads files is imported only by the data set that needs it."""

from collections.abc import Callable

import torch

from namprune.data.cifar import build_cifar10, build_cifar100
from namprune.data.digits import build_digits
from namprune.data.imagefolder import build_imagefolder
from namprune.data.images import Batch, Data, Images
from namprune.recipe.schema import DataSection

__all__ = ["DATASETS", "Batch", "Data", "Images", "build_data"]

DATASETS: dict[str, Callable[..., Data]] = {
    "digits": build_digits,
    "cifar10": build_cifar10,
    "cifar100": build_cifar100,
    "imagefolder": build_imagefolder,
}


def build_data(section: DataSection, *, device: torch.device) -> Data:
    """The data set that a recipe names, on `device`.

    Raises:
        DataError: pictures that are missing, foreign or unusable.
    """
    return DATASETS[section.name](section, device=device)
