"""The contract of a data source: labelled pictures that come in normalized batches on the training device."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor

Part: TypeAlias = tuple[int, int]
"""(i, n): the i-th of n equal parts of every batch, each of which another process takes."""

WHOLE: Part = (0, 1)

Batch: TypeAlias = tuple[Tensor, Tensor]
"""Normalized pictures, float32 (N, C, H, W) in channels_last memory format, and labels, int64 (N,)."""


class Images(Protocol):
    """One split of a data set, wherever its pictures live."""

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def shuffled(
        self, *, batch_size: int, seed: int, epoch: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """Full batches in random order, augmented; order and augmentation depend on (seed, epoch) alone.

        The first `start` batches are left out, unread, and of the others all but a `part`.
        """
        ...

    def ordered(self, *, batch_size: int) -> Iterator[Batch]:
        """Every picture once, in order, not augmented; the last batch may be smaller."""
        ...


@dataclass(frozen=True)
class Contiguous:
    """The batches of `images` with the pictures in the default memory format."""

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def shuffled(
        self, *, batch_size: int, seed: int, epoch: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """As `Images.shuffled`."""
        for x, y in self.images.shuffled(batch_size=batch_size, seed=seed, epoch=epoch, start=start, part=part):
            yield x.contiguous(), y

    def ordered(self, *, batch_size: int) -> Iterator[Batch]:
        """As `Images.ordered`."""
        for x, y in self.images.ordered(batch_size=batch_size):
            yield x.contiguous(), y


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set, ready to train on. `test` is for the end of a run alone."""

    train: Images
    val: Images
    test: Images
    label: str
    """Name to print beside results, such as `CIFAR-10 (JPEG)`."""
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    """Channels, height, width."""
    digest: str
    """SHA-256 over pictures, labels and split; of a folder of files, over their names, sizes and labels."""
