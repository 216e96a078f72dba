"""SE against its published layers: pooling and two 1x1 convolutions."""

import pytest
from torch import Tensor, nn

from namprune.attention.se import SE


class PlainSE(nn.Module):
    def __init__(self, channels: int, hidden: int, *, bias: bool) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.up = nn.Conv2d(hidden, channels, 1, bias=bias)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), self.down, nn.ReLU(), self.up, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x).expand_as(x) * x


@pytest.mark.parametrize(("channels", "reduction", "hidden"), [(32, 4, 8), (64, 16, 4), (16, 16, 4)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_plain_composition(
    channels, reduction, hidden, bias, training, assert_agree, randomised, features
) -> None:
    kinds = ("weight", "bias") if bias else ("weight",)
    assert_agree(
        randomised(SE(channels, (5, 7), reduction=reduction, bias=bias)),
        PlainSE(channels, hidden, bias=bias),
        {
            f"{ours}.{kind}": [f"{theirs}.{kind}"]
            for ours, theirs in (("squeeze", "down"), ("excite", "up"))
            for kind in kinds
        },
        features(channels),
        training=training,
    )


@pytest.mark.parametrize(("channels", "count"), [(64, 512), (256, 8192), (512, 32768)])
def test_parameters_without_biases_are_those_of_the_published_port(channels, count) -> None:
    assert sum(parameter.numel() for parameter in SE(channels, (5, 7), bias=False).parameters()) == count
    with_biases = sum(parameter.numel() for parameter in SE(channels, (5, 7)).parameters())
    assert with_biases == count + channels + channels // 16
