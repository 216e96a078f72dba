"""The constant gate 0.5: what NAM's published gate is almost equal to, as a control for what its factors add.

With w = |γ| / Σ|γ| about 1/C, sigmoid(w * BN(x)) hardly leaves 0.5 (https://arxiv.org/abs/2111.12419).
"""

import torch
from torch import Tensor

from namprune.attention.contract import Attention


class Half(Attention):
    """y = x / 2. No parameters."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("channel_marks", torch.zeros(channels, 0))  # of no bytes: see spatial NAM
        self.channel_marks: Tensor

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.channel_marks)

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return 0.5 * x

    def prune(self, keep: Tensor) -> None:
        """Keep the channels `keep`."""
        self.channel_marks = self.channel_marks[keep]

    def macs(self, x: Tensor) -> int:
        """The product with x, as long as nobody folds it."""
        return x.numel()
