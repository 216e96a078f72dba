"""Single picture files as a data set would give them to its networks at evaluation; the data set is not needed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from namprune.choices import DataName
from namprune.data import cifar, digits, imagefolder
from namprune.data.decode import cores
from namprune.data.folder import check_files, decode_files
from namprune.data.normalize import Normalize

MOMENTS: dict[DataName, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "digits": (digits.MEAN, digits.STD),
    "cifar10": (cifar.CIFAR10.mean, cifar.CIFAR10.std),
    "cifar100": (cifar.CIFAR100.mean, cifar.CIFAR100.std),
    "imagefolder": (imagefolder.MEAN, imagefolder.STD),
}
"""Mean and standard deviation that each data set normalizes by."""


def check_pictures(files: Sequence[Path], *, input_shape: tuple[int, int, int]) -> None:
    """Decode every file and keep none.

    Raises:
        DataError: naming the files that `read_pictures` could not read.
    """
    check_files(files, side=input_shape[1], threads=cores())


def read_pictures(files: Sequence[Path], *, input_shape: tuple[int, int, int]) -> Tensor:
    """Decode to uint8 (N, H, W, C): the shorter side resized, the centre cut out, grey for one channel.

    Raises:
        DataError: naming the files that cannot be read.
    """
    channels, side, _ = input_shape
    pixels = decode_files(files, side=side, threads=cores())  # (N, H, W, 3)
    if channels == 3:
        return pixels
    grey = [np.array(Image.fromarray(one).convert("L")) for one in pixels.numpy()]
    return torch.from_numpy(np.stack(grey))[..., None]  # (N, H, W, 1)


def normalizer(name: DataName, *, device: torch.device) -> Normalize:
    """From the stored bytes of a data set, uint8 (N, H, W, C), to what its networks read."""
    mean, std = MOMENTS[name]
    return Normalize(mean, std, device=device)
