"""Held-out splits and limits: stratified over the classes, and the same whatever the recipe's seed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from namprune.data.seeded import generator
from namprune.errors import DataError


def hold_out(labels: Tensor, *, fraction: float, classes: Sequence[str], purpose: str) -> tuple[Tensor, Tensor]:
    """Indices of the pictures that stay and of those held out, each in rising order.

    Of every class the rounded `fraction` is held out, at least one picture.

    Raises:
        DataError: a class with fewer than two pictures, so that one side would lack it.
    """
    counts = torch.bincount(labels, minlength=len(classes))
    if int(counts.min()) < 2:
        poorest = int(counts.argmin())
        raise DataError(
            f"class {classes[poorest]!r} has {int(counts[poorest])} training pictures, at least 2 are needed "
            "(one is held out)",
            hint=f"add pictures, or raise data.limit to at least {2 * len(classes)} if it is set",
        )
    held = _rank(labels, purpose) < (counts * fraction).round().clamp(min=1)[labels]
    return (~held).nonzero().flatten(), held.nonzero().flatten()


def limited(labels: Tensor, limit: int | None) -> Tensor:
    """Indices, in rising order, of at most `limit` pictures, as even over the classes as they allow."""
    if limit is None or limit >= len(labels):
        return torch.arange(len(labels))
    # First pictures of all classes, then second ones, ...: a small class leaves its places to the others.
    by_rank = torch.argsort(_rank(labels, "limit") * (int(labels.max()) + 1) + labels)
    return by_rank[:limit].sort().values


def _rank(labels: Tensor, purpose: str) -> Tensor:
    """Place of each picture in a random order of its class that is fixed per purpose, from 0."""
    shuffled = torch.randperm(len(labels), generator=generator(purpose))
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]
    counts = torch.bincount(labels)
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels)) - starts
    return rank
