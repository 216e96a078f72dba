"""SA, shuffle attention (Zhang & Yang, 2021), https://arxiv.org/abs/2102.00240.

Channels fall into `groups` groups of two halves; with slot parameters w, b (and a GroupNorm's γ, β) that all groups
share,

    first half:   y_c = x_c * sigmoid(w1 * GAP(x_c) + b1)
    second half:  y_c = x_c * sigmoid(w2 * (γ * norm(x_c) + β) + b2)     norm over the positions of one channel

and a two-group shuffle then moves channel c to the place (c mod C/2) * 2 + (c div C/2). A shuffle is a fixed
order of channels, and whatever makes the channels can make them in any order: here they come in the order in which
the official module delivers them, so nothing is shuffled at run time and any single channel can be removed.
The authors' 64 groups need wide layers; `groups=None` takes the most that fit, up to 64.
"""

import math

import torch
from torch import Tensor, nn

from namprune.attention.contract import Attention, widened

MOST_GROUPS = 64


def fitting_groups(channels: int) -> int:
    """The largest power of two up to 64 whose double divides the channels; ValueError for an odd count."""
    if channels % 2:
        raise ValueError(f"shuffle attention needs an even number of channels, got {channels}")
    groups = MOST_GROUPS
    while channels % (2 * groups):
        groups //= 2
    return groups


class SA(Attention):
    """Half of the channels gated by their mean, half by their normalized pixels."""

    def __init__(self, channels: int, size: tuple[int, int], *, groups: int | None = None, eps: float = 1e-5) -> None:
        super().__init__()
        groups = fitting_groups(channels) if groups is None else groups
        if channels % (2 * groups):
            raise ValueError(
                f"attention.groups: {groups} groups of two halves do not divide {channels} channels; "
                f"leave it out, or take {fitting_groups(channels)} or a power of two below"
            )
        slots = channels // (2 * groups)
        self.eps = eps
        self.channel_weight, self.channel_bias = (
            nn.Parameter(value) for value in (torch.zeros(slots), torch.ones(slots))
        )
        self.spatial_weight, self.spatial_bias = (
            nn.Parameter(value) for value in (torch.zeros(slots), torch.ones(slots))
        )
        self.norm_weight, self.norm_bias = (nn.Parameter(value) for value in (torch.ones(slots), torch.zeros(slots)))
        # In official order channel c has the place c mod 2 * slots in its group: first the one half, then the other.
        place = delivered_order(channels) % (2 * slots)
        self.register_buffer("pooled", place < slots)
        self.register_buffer("slot", place % slots)
        self.pooled: Tensor
        self.slot: Tensor

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.slot.numel()

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        wide = widened(x)
        variance, mean = torch.var_mean(wide, (2, 3), correction=0)  # (N, C)
        # Both gates are sigmoid(a * x + b) with a and b per picture and channel.
        scale = self.norm_weight[self.slot] * torch.rsqrt(variance + self.eps)
        a = torch.where(self.pooled, 0.0, self.spatial_weight[self.slot] * scale)
        b = torch.where(
            self.pooled,
            self.channel_weight[self.slot] * mean + self.channel_bias[self.slot],
            self.spatial_weight[self.slot] * (self.norm_bias[self.slot] - scale * mean) + self.spatial_bias[self.slot],
        )
        gated: Tensor = wide * torch.sigmoid(wide * a[:, :, None, None] + b[:, :, None, None])
        return gated.to(x.dtype)

    def prune(self, keep: Tensor) -> None:
        """Keep the channels `keep`: each gate depends on its own channel alone."""
        self.pooled, self.slot = self.pooled[keep], self.slot[keep]

    @property
    def initial_gate(self) -> float:
        """sigmoid(1), as every module starts: its weights are 0 and its biases 1."""
        return math.exp(1) / (1 + math.exp(1))

    def macs(self, x: Tensor) -> int:
        """Mean and variance, the affine and the product with x: four per element."""
        return 4 * x.numel()


def delivered_order(channels: int) -> Tensor:
    """The official module's two-group shuffle: its output channel i is the gated input channel `order[i]`."""
    return torch.arange(channels).view(2, -1).t().flatten()
