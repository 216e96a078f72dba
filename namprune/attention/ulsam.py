"""ULSAM, ultra-lightweight subspace attention (Saini et al., 2020), https://arxiv.org/abs/2006.15102.

Channels fall into `groups` subspaces; each has one attention map over the positions,

    A = softmax over H*W of relu(BN(pointwise(maxpool3x3(relu(BN(depthwise1x1(x)))))))      y = x * A + x

Per-channel parameters of all subspaces lie side by side, so subspaces may become unequal, or empty, by removal.
The published code gives its BatchNorms a momentum of 0.9, almost surely meant the other way round: here it is 0.1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.attention.contract import Attention, kept, narrow_batchnorm


class ULSAM(Attention):
    """One spatial attention map per subspace of channels, added to the identity."""

    def __init__(self, channels: int, size: tuple[int, int], *, groups: int = 4) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"attention.groups: {groups} subspaces do not divide {channels} channels")
        bound = (channels // groups) ** -0.5
        self.positions = size[0] * size[1]
        self.depthwise_weight = nn.Parameter(torch.empty(channels).uniform_(-1, 1))
        self.depthwise_bias = nn.Parameter(torch.empty(channels).uniform_(-1, 1))
        self.bn = nn.BatchNorm2d(channels)
        self.point_weight = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))
        self.point_bias = nn.Parameter(torch.empty(groups).uniform_(-bound, bound))
        self.point_bn = nn.BatchNorm2d(groups)
        self.register_buffer("subspace", torch.arange(channels) // (channels // groups))
        self.subspace: Tensor

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.subspace.numel()

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        local = torch.relu(self.bn(self._depthwise(x)))
        local = F.max_pool2d(local, 3, stride=1, padding=1)
        scores = F.conv2d(local, self._point_filter().to(local.dtype), self.point_bias.to(local.dtype))
        scores = torch.relu(self.point_bn(scores))  # (N, groups, H, W)
        maps = scores.flatten(2).softmax(2).view_as(scores)
        return x + x * maps.index_select(1, self.subspace).to(x.dtype)

    @torch.no_grad()
    def prune(self, keep: Tensor) -> None:
        """Keep the channels `keep`. A channel at zero still sends a constant to its subspace's map, through the
        biases before the ReLU: the constant of each channel that goes is added to the subspace's bias."""
        goes = torch.ones(self.channels, dtype=torch.bool, device=keep.device)
        goes[keep] = False
        bn = self.bn
        assert bn.running_mean is not None  # noqa: S101 - it tracks
        assert bn.running_var is not None  # noqa: S101
        normalized = (self.depthwise_bias - bn.running_mean) * torch.rsqrt(bn.running_var + bn.eps)
        constant = self.point_weight * torch.relu(bn.weight * normalized + bn.bias)  # (C,)
        self.point_bias.index_add_(0, self.subspace[goes], constant[goes])
        for name in ("depthwise_weight", "depthwise_bias", "point_weight"):
            setattr(self, name, kept(getattr(self, name), keep))
        narrow_batchnorm(bn, keep)
        self.subspace = self.subspace[keep]

    @property
    def initial_gate(self) -> float:
        """1 + A with the same attention A = 1 / (H W) everywhere."""
        return 1 + 1 / self.positions

    @torch.no_grad()
    def settle(self, mean: Tensor, var: Tensor) -> None:
        """Equal scores; at 1, since the ReLU in front of the softmax lets no gradient through at 0."""
        self.point_bn.weight.zero_()
        self.point_bn.bias.fill_(1)

    def macs(self, x: Tensor) -> int:
        """Depthwise, pointwise (without its filter's zeros) and the product with x: three per element."""
        return 3 * x.numel()

    def _depthwise(self, x: Tensor) -> Tensor:
        weight, bias = self.depthwise_weight.to(x.dtype), self.depthwise_bias.to(x.dtype)
        return x * weight[:, None, None] + bias[:, None, None]

    def _point_filter(self) -> Tensor:
        """(groups, C, 1, 1): each channel's weight in its subspace's row, zero elsewhere."""
        rows = self.point_weight.new_zeros(len(self.point_bias), self.channels)
        return rows.scatter(0, self.subspace[None], self.point_weight[None])[:, :, None, None]
