"""ECA, efficient channel attention (Wang et al., 2020), https://arxiv.org/abs/1910.03151.

y = x * sigmoid(conv1d_k(GAP(x)))       over neighbouring channels, k odd, about (log2(C) + 1) / 2
"""

import math

import torch
from torch import Tensor, nn

from namprune.attention.contract import Attention, zero


def kernel_size(channels: int) -> int:
    """The paper's k: (log2(C) + 1) / 2, whole, raised to the next odd number."""
    k = int(abs((math.log2(channels) + 1) / 2))
    return k if k % 2 else k + 1


class ECA(Attention):
    """Channel gate from each pooled channel and its neighbours.

    Neighbours are those of the unpruned layer: a channel that is gone counts as the zero that it would have been.
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        k = kernel_size(channels)
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)
        self.unpruned = channels
        self.register_buffer("places", torch.arange(channels))
        self.places: Tensor

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.places.numel()

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        pooled = x.mean((2, 3), dtype=self.conv.weight.dtype)  # (N, C)
        row = pooled.new_zeros(x.shape[0], self.unpruned).index_copy(1, self.places, pooled)
        gate = torch.sigmoid(self.conv(row[:, None])).squeeze(1).index_select(1, self.places)  # (N, C)
        return x * gate[:, :, None, None].to(x.dtype)

    def prune(self, keep: Tensor) -> None:
        """Keep the channels `keep`, each at its place."""
        self.places = self.places[keep]

    def settle(self, mean: Tensor, var: Tensor) -> None:
        """sigmoid(0) whatever the neighbours are."""
        zero(self.conv)

    def macs(self, x: Tensor) -> int:
        """The convolution, which runs over the places of all channels that there were, and the product with x."""
        return x.shape[0] * self.unpruned * self.conv.weight.numel() + x.numel()
