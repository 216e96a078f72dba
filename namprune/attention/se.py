"""Squeeze-and-Excitation (Hu et al., 2018), https://arxiv.org/abs/1709.01507.

    y = x * sigmoid(W2 relu(W1 GAP(x)))

Reduction 16 and biases as in the authors' network definitions; a popular PyTorch port has no biases (`bias=False`).
"""

import torch
from torch import Tensor, nn

from namprune.attention.contract import LEAST_HIDDEN, Attention, Bottleneck, narrow_linear, zero


def bottleneck(channels: int, reduction: int) -> int:
    """Width of the hidden layer: C // reduction, but at least `LEAST_HIDDEN`."""
    return max(LEAST_HIDDEN, channels // reduction)


class SE(Attention):
    """Channel gate from the globally pooled channels through a bottleneck of two linear layers."""

    def __init__(self, channels: int, size: tuple[int, int], *, reduction: int = 16, bias: bool = True) -> None:
        super().__init__()
        hidden = bottleneck(channels, reduction)
        self.squeeze = nn.Linear(channels, hidden, bias=bias)
        self.excite = nn.Linear(hidden, channels, bias=bias)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.squeeze.in_features

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        pooled = x.mean((2, 3), dtype=self.squeeze.weight.dtype)  # (N, C)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))
        return x * gate[:, :, None, None].to(x.dtype)

    def prune(self, keep: Tensor) -> None:
        """Keep the channels `keep`: a channel at zero adds nothing to the squeeze, so the rest is unchanged."""
        narrow_linear(self.squeeze, inputs=keep)
        narrow_linear(self.excite, outputs=keep)

    @torch.no_grad()
    def settle(self, mean: Tensor, var: Tensor) -> None:
        """sigmoid(0) whatever is squeezed."""
        zero(self.excite)

    def bottlenecks(self) -> dict[str, Bottleneck]:
        """The hidden layer."""
        return {"hidden": Bottleneck(self.squeeze, self.excite)}

    def macs(self, x: Tensor) -> int:
        """The two linear layers, and the product with x."""
        return x.shape[0] * (self.squeeze.weight.numel() + self.excite.weight.numel()) + x.numel()
