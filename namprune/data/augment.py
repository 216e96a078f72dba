"""Shuffle, random crop and mirroring of a whole batch as one gather of pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from namprune.data.images import WHOLE, Part
from namprune.data.seeded import generator
from namprune.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Which pictures come, and how each is cropped and mirrored: four tensors of shape (N,).

    `top` and `left` are the corner of the crop in the padded picture, in pixels.
    """

    picture: Tensor
    top: Tensor
    left: Tensor
    mirrored: Tensor

    def to(self, device: torch.device) -> "Draws":
        """The same draws on `device`."""
        return Draws(
            picture=self.picture.to(device),
            top=self.top.to(device),
            left=self.left.to(device),
            mirrored=self.mirrored.to(device),
        )

    def batches(self, batch_size: int, *, start: int = 0, part: Part = WHOLE) -> Iterator["Draws"]:
        """A part of every full batch from number `start` on; the rest is left out."""
        index, parts = part
        size = batch_size // parts
        for first in range(start * batch_size, len(self.picture) - batch_size + 1, batch_size):
            taken = slice(first + index * size, first + (index + 1) * size)
            yield Draws(
                picture=self.picture[taken],
                top=self.top[taken],
                left=self.left[taken],
                mirrored=self.mirrored[taken],
            )


def draw_epoch(count: int, *, pad: int, flip: bool, batch_size: int, seed: int, epoch: int) -> Draws:
    """Order, crops and mirrorings of one epoch over `count` pictures, as far as they fill batches.

    Drawn on the CPU, one generator per purpose, so that every device sees the same batches.

    Raises:
        DataError: the pictures do not fill one batch.
    """
    if batch_size > count:
        raise DataError(
            f"batch_size {batch_size}: the training split has {count} pictures, not one full batch",
            hint=f"set batch_size to {count} or less, or train on more pictures",
        )
    top, left = torch.randint(2 * pad + 1, (2, count), generator=generator("crop", seed, epoch))
    return Draws(
        picture=torch.randperm(count, generator=generator("order", seed, epoch)),
        top=top,
        left=left,
        mirrored=torch.randint(1 + flip, (count,), generator=generator("flip", seed, epoch)).bool(),
    )


def crop(padded: Tensor, draws: Draws, *, pad: int) -> Tensor:
    """Crop the drawn pictures back to their size and mirror them, without a host synchronisation.

    `padded` is (N, H + 2 pad, W + 2 pad, C); the result is (B, H, W, C) of the same type.
    """
    _, rows, columns, channels = padded.shape
    down = torch.arange(rows - 2 * pad, device=padded.device)  # (H,)
    right = torch.arange(columns - 2 * pad, device=padded.device)  # (W,)
    y = draws.top[:, None] + down  # (B, H)
    x = draws.left[:, None] + torch.where(draws.mirrored[:, None], right.flip(0), right)  # (B, W)
    pixel = ((draws.picture * rows)[:, None] + y)[:, :, None] * columns + x[:, None, :]  # (B, H, W)
    return padded.view(-1, channels).index_select(0, pixel.flatten()).view(*pixel.shape, channels)
