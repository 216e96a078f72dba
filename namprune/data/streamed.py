"""Pictures of a folder that are decoded anew by worker processes, batch by batch: too many for the memory of the
device, or shown in another way each time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from namprune.data.augment import crop, draw_epoch
from namprune.data.folder import decode_files
from namprune.data.images import WHOLE, Batch, Part
from namprune.data.normalize import Normalize
from namprune.data.view import RandomView
from namprune.errors import DataError

Order: TypeAlias = tuple[list[int], tuple[int, int] | None]
"""The pictures of a batch by their numbers, and where they are shown at random, the seed and the epoch."""


class StreamedImages:
    """One split, read from its files each time; without a `view` to the bit as from `ResidentImages`.

    Workers decode, and draw the view of each picture that comes shuffled; crop, mirroring and normalisation run on the
    device. One iteration at a time.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: Tensor,
        *,
        side: int,
        normalize: Normalize,
        pad: int,
        flip: bool,
        device: torch.device,
        workers: int,
        view: RandomView | None = None,
    ) -> None:
        self.pad, self.flip, self.normalize, self.device = pad, flip, normalize, device
        self.labels = labels.to(device)
        self.batches: list[Order] = []  # of the present iteration, read by the loader as it starts one
        self.loader: DataLoader[Tensor | DataError] = DataLoader(
            _Decoder(files, side, view),
            sampler=self.batches,
            batch_size=None,
            num_workers=workers,
            generator=torch.Generator(),  # or every epoch would take a number from the global one
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def shuffled(
        self, *, batch_size: int, seed: int, epoch: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """Full batches, or a part of each, in random order, augmented.

        Raises:
            DataError: fewer pictures than `batch_size`, or a picture that cannot be read.
        """
        drawn = draw_epoch(len(self), pad=self.pad, flip=self.flip, batch_size=batch_size, seed=seed, epoch=epoch)
        order: list[Order] = [
            (draws.picture.tolist(), (seed, epoch)) for draws in drawn.batches(batch_size, start=start, part=part)
        ]
        taken = drawn.to(self.device).batches(batch_size, start=start, part=part)
        for pixels, draws in zip(self._decoded(order), taken, strict=True):
            padded = functional.pad(pixels, (0, 0, self.pad, self.pad, self.pad, self.pad))
            place = torch.arange(len(padded), device=self.device)
            cropped = crop(padded, replace(draws, picture=place), pad=self.pad)
            yield self.normalize(cropped), self.labels[draws.picture]

    def ordered(self, *, batch_size: int) -> Iterator[Batch]:
        """Every picture once, in order, not augmented.

        Raises:
            DataError: a picture that cannot be read.
        """
        order: list[Order] = [(part.tolist(), None) for part in torch.split(torch.arange(len(self)), batch_size)]
        for pixels, labels in zip(self._decoded(order), torch.split(self.labels, batch_size), strict=True):
            yield self.normalize(pixels), labels

    def _decoded(self, order: list[Order]) -> Iterator[Tensor]:
        """The pictures of each batch, uint8 (B, H, W, 3), on the device."""
        self.batches[:] = order
        for pixels in self.loader:
            if isinstance(pixels, DataError):
                # A new one: a frame that holds the exception it raises is a cycle, and workers that are
                # left to the garbage collector take five seconds each to end.
                raise DataError(pixels.message, hint=pixels.hint)
            yield pixels.to(self.device, non_blocking=True)


class _Decoder(Dataset[Tensor | DataError]):
    """Whole batches by the numbers of their pictures: uint8 (B, H, W, 3), or what is wrong with one."""

    def __init__(self, files: Sequence[Path], side: int, view: RandomView | None) -> None:
        self.files, self.side, self.view = files, side, view

    def __getitem__(self, order: Order) -> Tensor | DataError:
        numbers, key = order
        show = self.view.drawn(numbers, *key) if self.view and key else None
        # A fault is returned: raised in a worker, it would arrive with the worker's traceback as its message.
        try:
            return decode_files([self.files[i] for i in numbers], side=self.side, threads=1, show=show)
        except DataError as error:
            return error
