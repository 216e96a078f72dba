"""BAM, bottleneck attention (Park et al., 2018), https://arxiv.org/abs/1807.06514.

    y = x + x * sigmoid(c + s)      c: (N, C, 1, 1) channel branch,  s: (N, 1, H, W) spatial branch

The paper adds the branches (`combine="sum"`, its ablation's best); the published code and weights multiply them
(`combine="mul"`). As in the code, BatchNorm is on the hidden layers alone; the paper has one at each branch's end.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from namprune.attention.contract import Attention, Bottleneck, narrow_linear, zero
from namprune.attention.se import bottleneck


class BAM(Attention):
    """Gate of pooled channels and of dilated convolutions; made for the places between stages."""

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        reduction: int = 16,
        dilation: int = 4,
        combine: Literal["sum", "mul"] = "sum",
    ) -> None:
        super().__init__()
        hidden = bottleneck(channels, reduction)
        self.combine = combine
        self.squeeze = nn.Linear(channels, hidden)
        self.bn = nn.BatchNorm1d(hidden)
        self.excite = nn.Linear(hidden, channels)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        dilated = (nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation) for _ in range(2))
        self.context = nn.Sequential(
            *(layer for conv in dilated for layer in (nn.BatchNorm2d(hidden), nn.ReLU(), conv)),
            *(nn.BatchNorm2d(hidden), nn.ReLU(), nn.Conv2d(hidden, 1, 1)),
        )

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.squeeze.in_features

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W). In training N must be above 1, for the BatchNorm of the pooled channels."""
        wide = x.to(self.reduce.weight.dtype)
        channel = self.excite(torch.relu(self.bn(self.squeeze(wide.mean((2, 3))))))[:, :, None, None]
        spatial = self.context(self.reduce(wide))  # (N, 1, H, W)
        scores = channel + spatial if self.combine == "sum" else channel * spatial
        return x + x * torch.sigmoid(scores).to(x.dtype)

    def prune(self, keep: Tensor) -> None:
        """Keep the channels `keep`: those at zero add nothing to either branch."""
        narrow_linear(self.squeeze, inputs=keep)
        narrow_linear(self.excite, outputs=keep)
        narrow_linear(self.reduce, inputs=keep)

    @property
    def initial_gate(self) -> float:
        """1 + sigmoid(0)."""
        return 1.5

    def settle(self, mean: Tensor, var: Tensor) -> None:
        """Scores of 0; of a product one factor is left as it is, or neither would learn."""
        zero(self.excite)
        if self.combine == "sum":
            zero(self._convolutions()[-1])

    def bottlenecks(self) -> dict[str, Bottleneck]:
        """The hidden layer of the channel branch, and the three of the spatial branch one after the other."""
        norms = [layer for layer in self.context if isinstance(layer, nn.BatchNorm2d)]
        spatial = {
            f"spatial{place}": Bottleneck(maker, reader, norm)
            for place, ((maker, reader), norm) in enumerate(zip(pairwise(self._convolutions()), norms, strict=True))
        }
        return {"channel": Bottleneck(self.squeeze, self.excite, self.bn)} | spatial

    def macs(self, x: Tensor) -> int:
        """Linear layers, convolutions, and the product with x."""
        linear = self.squeeze.weight.numel() + self.excite.weight.numel()
        convolutions = sum(layer.weight.numel() for layer in self._convolutions())
        return x.shape[0] * (linear + x.shape[2] * x.shape[3] * convolutions) + x.numel()

    def _convolutions(self) -> list[nn.Conv2d]:
        """Those of the spatial branch, in order."""
        return [self.reduce, *(layer for layer in self.context if isinstance(layer, nn.Conv2d))]
