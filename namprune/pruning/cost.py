"""What a cut leaves of the network's multiply-accumulates and tensors, without cutting the network.

Those of a convolution or linear layer go with its inputs times its outputs; an attention is asked when narrowed.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from namprune.attention import Attention
from namprune.measure import attention_sizes, layer_macs
from namprune.pruning.bottleneck import narrowed, narrowed_copy
from namprune.pruning.group import Cuts
from namprune.pruning.size import Stored, Tensors, stored, stored_after


@dataclass(frozen=True)
class Cost:
    """What a network costs."""

    macs: Mapping[str, int]
    """Of one picture, by layer."""
    sizes: Mapping[str, tuple[int, int]]
    """Height and width of what each attention is given."""
    tensors: Tensors
    """Of the network's state."""
    shrinks: bool
    """Whether the bottlenecks of attentions shrink with their channels."""

    @classmethod
    def of(cls, model: nn.Module, input_shape: tuple[int, int, int], *, shrinks: bool) -> "Cost":
        """Count a network."""
        return cls(layer_macs(model, input_shape), attention_sizes(model, input_shape), stored(model), shrinks)

    @property
    def total(self) -> int:
        """Of all layers."""
        return sum(self.macs.values())

    def after(self, cuts: Cuts) -> int:
        """The total with only the given channels kept."""
        widths: dict[tuple[str, str], int] = {}
        lost: Counter[tuple[str, str]] = Counter()  # a layer behind a concatenation loses to several groups
        for group, keep in cuts:
            goes = torch.ones(group.size, dtype=torch.bool)
            goes[keep] = False
            for member in group.members:
                if isinstance(member.module, nn.Conv2d | nn.Linear):
                    side = (member.name, member.side)
                    widths[side] = _side_width(member.module, member.side)
                    lost[side] += int(goes[member.channels].sum())
        shares = {name: Fraction(1) for name in self.macs}
        for (name, end), width in widths.items():
            shares[name] *= Fraction(width - lost[name, end], width)
        now = {name: self._attention(name, *cut) for name, cut in narrowed(cuts).items()}
        return math.floor(sum(now.get(name, macs * shares[name]) for name, macs in self.macs.items()))

    def tensors_after(self, cuts: Cuts) -> dict[str, Stored]:
        """The tensors with only the given channels kept."""
        return stored_after(self.tensors, cuts, shrinks=self.shrinks)

    def _attention(self, name: str, module: Attention, keep: Tensor) -> int:
        """MACs of an attention that keeps these channels."""
        copied = narrowed_copy(module, keep, shrinks=self.shrinks)
        return copied.macs(torch.empty(1, len(keep), *self.sizes[name], device="meta"))


def _side_width(module: nn.Conv2d | nn.Linear, side: str) -> int:
    """Size of the dimension of a layer that a group runs along."""
    if isinstance(module, nn.Conv2d):
        return module.in_channels if side == "in" else module.out_channels
    return module.in_features if side == "in" else module.out_features
