"""What a cut leaves of the network's multiply-accumulates, by arithmetic instead of by cutting."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from namprune.measure import fixed_macs, layer_macs
from namprune.pruning.graph import ChannelGroup


@dataclass(frozen=True)
class Cost:
    """MACs of one picture by layer, and what of them no cut can change."""

    macs: Mapping[str, int]
    fixed: Mapping[str, int]

    @classmethod
    def of(cls, model: nn.Module, input_shape: tuple[int, int, int]) -> "Cost":
        """Count a network."""
        return cls(layer_macs(model, input_shape), fixed_macs(model, input_shape))

    @property
    def total(self) -> int:
        """Of all layers."""
        return sum(self.macs.values())

    def after(self, cuts: Sequence[tuple[ChannelGroup, Tensor]]) -> int:
        """The total with only the given channels kept: a layer's goes with its inputs times its outputs."""
        widths: dict[tuple[str, str], int] = {}
        lost: Counter[tuple[str, str]] = Counter()  # a layer behind a concatenation loses to several groups
        for group, keep in cuts:
            goes = torch.ones(group.size, dtype=torch.bool)
            goes[keep] = False
            for member in group.members:
                if member.name in self.macs:
                    side = (member.name, member.side)
                    widths[side] = _side_width(member.module, member.side)
                    lost[side] += int(goes[member.channels].sum())
        shares = {name: Fraction(1) for name in self.macs}
        for (name, end), width in widths.items():
            shares[name] *= Fraction(width - lost[name, end], width)
        fixed = {name: self.fixed.get(name, 0) for name in self.macs}
        return math.floor(sum(fixed[name] + (self.macs[name] - fixed[name]) * shares[name] for name in self.macs))


def _side_width(module: nn.Module, side: str) -> int:
    """Size of the dimension of a layer that a group runs along."""
    if isinstance(module, nn.Conv2d):
        return module.in_channels if side == "in" else module.out_channels
    if isinstance(module, nn.Linear):
        return module.in_features if side == "in" else module.out_features
    channels = module.channels  # attention; layers without MACs are not asked
    assert isinstance(channels, int)  # noqa: S101
    return channels
