"""A group of channels that only go together, and the layers that carry them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.attention import Attention
from namprune.pruning.layers import Side


@dataclass(frozen=True)
class Member:
    """A layer that loses channels with its group.

    `positions[i]` is the index, along the layer's `side`, of what belongs to channel `channels[i]` of the group:
    the same numbers for most layers, shifted after a concatenation, several per channel after a flattening.
    `both` is a layer whose inputs and outputs are the same channels: normalization, depthwise, attention.
    """

    name: str
    module: nn.Module
    side: Side
    positions: Tensor  # (k,)
    channels: Tensor  # (k,)
    fed_by: str | None = None
    """Of an attention: the layer whose output it gates."""


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that only go together, through every layer that carries them. `root` is a layer that makes them."""

    root: str
    size: int
    members: tuple[Member, ...]
    units: Tensor | None = None  # (size,)
    """Which channels only go at once, those of one group of a grouped convolution: the number of its unit for each,
    all of one size. None: each by itself."""

    @property
    def unit(self) -> int:
        """How many channels only go at once."""
        return 1 if self.units is None else self.size // (int(self.units.max()) + 1)

    @property
    def makers(self) -> tuple[Member, ...]:
        """Convolutions and linear layers whose outputs the channels are."""
        return tuple(m for m in self.members if m.side != "in" and isinstance(m.module, nn.Conv2d | nn.Linear))

    @property
    def readers(self) -> tuple[Member, ...]:
        """Convolutions and linear layers that take the channels as inputs alone."""
        return tuple(m for m in self.members if m.side == "in" and isinstance(m.module, nn.Conv2d | nn.Linear))

    @property
    def norms(self) -> tuple[Member, ...]:
        """BatchNorms with scale factors on the channels."""
        return tuple(m for m in self.members if isinstance(m.module, _BatchNorm) and m.module.affine)

    @property
    def attentions(self) -> tuple[Member, ...]:
        """Attention modules on the channels."""
        return tuple(m for m in self.members if isinstance(m.module, Attention))

    def rows(self, goes: Tensor) -> Iterator[tuple[Member, Tensor]]:
        """What makes the channels where the mask `goes` (size,) is true: layers, with the rows of their tensors."""
        for member in (*self.makers, *self.norms):
            yield member, member.positions[goes[member.channels]]

    def per_channel(self, member: Member, values: Tensor, *, reduce: Literal["amax", "sum"] = "amax") -> Tensor:
        """Values along a member's side as those of the group's channels, (size,), on the CPU.

        Where a channel has several positions, the largest of their values (of zero or more), or the sum.
        """
        picked = values.cpu()[member.positions]
        return torch.zeros(self.size).scatter_reduce(0, member.channels, picked.float(), reduce, include_self=True)

    def per_unit(self, values: Tensor, *, reduce: Literal["amax", "mean"] = "mean") -> Tensor:
        """Values of channels (size,), each replaced by the mean, or the largest, of those of its unit."""
        if self.units is None:
            return values
        units = self.units.to(values.device)
        start = values.new_zeros(self.size // self.unit)
        return start.scatter_reduce(0, units, values, reduce, include_self=False)[units]


Cuts: TypeAlias = Sequence[tuple[ChannelGroup, Tensor]]
"""Groups with the indices that they keep, ascending."""
