"""ECA against its published layers: pooling and a convolution along the channels."""

import math

import pytest
import torch
from torch import Tensor, nn

from namprune.attention.eca import ECA, kernel_size


class PlainECA(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, k, padding=(k - 1) // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(x)
        scores = self.conv(pooled.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * torch.sigmoid(scores).expand_as(x)


@pytest.mark.parametrize(("channels", "k"), [(16, 3), (64, 3), (256, 5)])
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_plain_composition(channels, k, training, assert_agree, randomised, features) -> None:
    module = randomised(ECA(channels, (5, 7)))
    assert_agree(module, PlainECA(k), {"conv.weight": ["conv.weight"]}, features(channels), training=training)


@pytest.mark.parametrize(("channels", "k"), [(1, 1), (8, 3), (64, 3), (128, 5), (256, 5), (512, 5), (2048, 7)])
def test_kernel_size(channels, k) -> None:
    assert kernel_size(channels) == k
    assert sum(parameter.numel() for parameter in ECA(channels, (5, 7)).parameters()) == k


def test_kernel_size_is_the_next_odd_number_for_widths_between_powers() -> None:
    for channels in range(1, 2049):
        exact = (math.log2(channels) + 1) / 2
        k = kernel_size(channels)
        assert k % 2 == 1
        assert -1 < k - exact <= 1
