"""Pictures that live on the training device as one uint8 tensor."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from namprune.data.augment import crop, draw_epoch
from namprune.data.images import WHOLE, Batch, Data, Part
from namprune.data.normalize import Normalize


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Decoded pictures, uint8 (N, H, W, C), and their labels, int64 (N,), in main memory."""

    pixels: Tensor
    labels: Tensor

    def take(self, index: Tensor) -> "Pictures":
        """The pictures at `index`."""
        return Pictures(pixels=self.pixels[index], labels=self.labels[index])


class ResidentImages:
    """One split in the memory of the device, stored with its padding, so that a batch is one gather."""

    def __init__(self, pictures: Pictures, *, normalize: Normalize, pad: int, flip: bool, device: torch.device) -> None:
        self.pad, self.flip, self.normalize = pad, flip, normalize
        pixels = pictures.pixels.to(device)
        # (N, H + 2 pad, W + 2 pad, C)
        self.padded = functional.pad(pixels, (0, 0, pad, pad, pad, pad)) if pad else pixels.contiguous()
        self.labels = pictures.labels.to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def shuffled(
        self, *, batch_size: int, seed: int, epoch: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """Full batches, or a part of each, in random order, augmented.

        Raises:
            DataError: fewer pictures than `batch_size`.
        """
        drawn = draw_epoch(len(self), pad=self.pad, flip=self.flip, batch_size=batch_size, seed=seed, epoch=epoch)
        for draws in drawn.to(self.labels.device).batches(batch_size, start=start, part=part):
            yield self.normalize(crop(self.padded, draws, pad=self.pad)), self.labels[draws.picture]

    def ordered(self, *, batch_size: int) -> Iterator[Batch]:
        """Every picture once, in order, not augmented."""
        _, rows, columns, _ = self.padded.shape
        inner = self.padded[:, self.pad : rows - self.pad, self.pad : columns - self.pad]  # (N, H, W, C)
        for pixels, labels in zip(torch.split(inner, batch_size), torch.split(self.labels, batch_size), strict=True):
            yield self.normalize(pixels), labels


def resident_data(
    *,
    train: Pictures,
    val: Pictures,
    test: Pictures,
    label: str,
    classes: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    pad: int,
    flip: bool,
    device: torch.device,
) -> Data:
    """Three splits on the device; only the training pictures are augmented."""
    normalize = Normalize(mean, std, device=device)
    _, height, width, channels = train.pixels.shape
    return Data(
        train=ResidentImages(train, normalize=normalize, pad=pad, flip=flip, device=device),
        val=ResidentImages(val, normalize=normalize, pad=0, flip=False, device=device),
        test=ResidentImages(test, normalize=normalize, pad=0, flip=False, device=device),
        label=label,
        classes=classes,
        input_shape=(channels, height, width),
        digest=_digest({"train": train, "val": val, "test": test}),
    )


def _digest(splits: dict[str, Pictures]) -> str:
    """SHA-256 over name, shape, bytes and labels of each split."""
    digest = hashlib.sha256()
    for name, pictures in splits.items():
        digest.update(f"{name} {tuple(pictures.pixels.shape)}\n".encode())
        digest.update(pictures.pixels.flatten().numpy().data)
        digest.update(pictures.labels.numpy().data)
    return digest.hexdigest()
