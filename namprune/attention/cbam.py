"""CBAM, convolutional block attention (Woo et al., 2018), https://arxiv.org/abs/1807.06521.

    y = x * sigmoid(MLP(GAP(x)) + MLP(GMP(x)))                      channel gate, one shared bottleneck
    z = y * sigmoid(BN(conv7x7([max over C of y, mean over C of y])))   spatial gate

The BatchNorm of the spatial gate (momentum 0.01) and its zero γ at the start, which makes the gate 0.5 everywhere,
are in the authors' code and not in the paper.
"""

import torch
from torch import Tensor, nn

from namprune.attention.contract import Attention, Bottleneck, narrow_linear, zero
from namprune.attention.se import bottleneck


class CBAM(Attention):
    """Channel gate from average- and max-pooled channels, then a spatial gate from the channels' max and mean."""

    def __init__(self, channels: int, size: tuple[int, int], *, reduction: int = 16, kernel: int = 7) -> None:
        super().__init__()
        hidden = bottleneck(channels, reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)
        nn.init.zeros_(self.bn.weight)
        self._masked: Tensor | None = None

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.squeeze.in_features

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        dtype = self.conv.weight.dtype
        scores = self._mlp(x.mean((2, 3), dtype=dtype)) + self._mlp(x.amax((2, 3)).to(dtype))  # (N, C)
        y = x * torch.sigmoid(scores)[:, :, None, None].to(x.dtype)
        largest = y if self._masked is None else y.masked_fill(self._masked[:, None, None], -torch.inf)
        maps = torch.cat([largest.amax(1, keepdim=True), y.mean(1, keepdim=True)], 1)  # (N, 2, H, W)
        return y * torch.sigmoid(self.bn(self.conv(maps.to(dtype)))).to(x.dtype)

    def mask(self, keep: Tensor) -> None:
        """Leave the channels that go out of the maximum: at zero they would win where all others are negative."""
        self._masked = torch.ones(self.channels, dtype=torch.bool, device=keep.device)
        self._masked[keep] = False

    @torch.no_grad()
    def prune(self, keep: Tensor) -> None:
        """Keep the channels `keep`; the filter of the mean takes up that it is now over fewer channels."""
        self.conv.weight[:, 1] *= keep.numel() / self.channels
        narrow_linear(self.squeeze, inputs=keep)
        narrow_linear(self.excite, outputs=keep)

    @property
    def initial_gate(self) -> float:
        """Of both gates."""
        return 0.25

    def settle(self, mean: Tensor, var: Tensor) -> None:
        """sigmoid(0) in the channel gate; the spatial one begins so anyway."""
        zero(self.excite)

    def bottlenecks(self) -> dict[str, Bottleneck]:
        """The hidden layer of the channel gate."""
        return {"hidden": Bottleneck(self.squeeze, self.excite)}

    def macs(self, x: Tensor) -> int:
        """Both passes through the bottleneck, the convolution, and the two products with x."""
        mlp = self.squeeze.weight.numel() + self.excite.weight.numel()
        convolution = x.shape[2] * x.shape[3] * self.conv.weight.numel()
        return x.shape[0] * (2 * mlp + convolution) + 2 * x.numel()

    def _mlp(self, pooled: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        scores: Tensor = self.excite(torch.relu(self.squeeze(pooled)))
        return scores
