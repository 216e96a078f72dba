"""SA against the official composition of reshape, chunk, GroupNorm, concatenation and shuffle."""

import pytest
import torch
from torch import Tensor, nn

from namprune.attention.sa import SA, delivered_order, fitting_groups

NAMES = {
    "channel_weight": ["cweight"],
    "channel_bias": ["cbias"],
    "spatial_weight": ["sweight"],
    "spatial_bias": ["sbias"],
    "norm_weight": ["gn.weight"],
    "norm_bias": ["gn.bias"],
}
WIDTHS = (16, 24, 32, 64, 96, 144, 160, 192, 320, 512)
"""Widths of the CIFAR and ImageNet ResNets and of MobileNetV2, each kind of divisor once or more."""


def shuffled(x: Tensor, groups: int) -> Tensor:
    """The official channel shuffle."""
    b, _, h, w = x.shape
    return x.reshape(b, groups, -1, h, w).permute(0, 2, 1, 3, 4).reshape(b, -1, h, w)


class OfficialSA(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        slots = channels // (2 * groups)
        self.groups = groups
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.cweight = nn.Parameter(torch.zeros(1, slots, 1, 1))
        self.cbias = nn.Parameter(torch.ones(1, slots, 1, 1))
        self.sweight = nn.Parameter(torch.zeros(1, slots, 1, 1))
        self.sbias = nn.Parameter(torch.ones(1, slots, 1, 1))
        self.gn = nn.GroupNorm(slots, slots)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        first, second = x.reshape(b * self.groups, -1, h, w).chunk(2, dim=1)
        pooled = self.cweight * self.avg_pool(first) + self.cbias
        normed = self.sweight * self.gn(second) + self.sbias
        gated = torch.cat([first * torch.sigmoid(pooled), second * torch.sigmoid(normed)], dim=1)
        return shuffled(gated.reshape(b, -1, h, w), 2)


class InDeliveredOrder(nn.Module):
    """Our module on its input in the order that the official one delivers, found by shuffling indices."""

    def __init__(self, module: SA) -> None:
        super().__init__()
        self.module = module
        self.order = shuffled(torch.arange(module.channels)[None, :, None, None], 2).flatten()

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x[:, self.order])


def official_groups(channels: int) -> int:
    return max(groups for groups in (1, 2, 4, 8, 16, 32, 64) if channels % (2 * groups) == 0)


@pytest.mark.parametrize("channels", WIDTHS)
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_official_composition_at_every_width(channels, training, assert_agree, randomised, features) -> None:
    ours = InDeliveredOrder(randomised(SA(channels, (5, 7))))
    names = {f"module.{name}": parts for name, parts in NAMES.items()}
    assert_agree(ours, OfficialSA(channels, official_groups(channels)), names, features(channels), training=training)


@pytest.mark.parametrize("groups", [1, 2, 3, 12])
def test_equals_the_official_composition_for_fixed_groups(groups, assert_agree, randomised, features) -> None:
    ours = InDeliveredOrder(randomised(SA(24, (5, 7), groups=groups)))
    names = {f"module.{name}": parts for name, parts in NAMES.items()}
    assert_agree(ours, OfficialSA(24, groups), names, features(24), training=True)


@pytest.mark.parametrize("channels", [2, 6, 16, 144])
def test_delivered_order_is_the_official_shuffle(channels) -> None:
    indices = torch.arange(channels)
    assert torch.equal(delivered_order(channels), shuffled(indices[None, :, None, None], 2).flatten())


def test_every_gate_starts_at_the_sigmoid_of_one(features) -> None:
    x = features(16)
    torch.testing.assert_close(SA(16, (5, 7))(x), x * torch.tensor(1.0).sigmoid())


@pytest.mark.parametrize(("channels", "count"), [(256, 12), (512, 24), (1024, 48), (64, 6)])
def test_parameters_are_those_of_the_official_module(channels, count) -> None:
    assert sum(parameter.numel() for parameter in SA(channels, (5, 7)).parameters()) == count


@pytest.mark.parametrize("channels", WIDTHS)
def test_as_many_groups_as_fit(channels) -> None:
    assert fitting_groups(channels) == official_groups(channels)


def test_fixed_groups_that_do_not_fit_are_refused_with_those_that_do() -> None:
    message = r"64 groups of two halves do not divide 96 channels; leave it out, or take 16 or a power of two below"
    with pytest.raises(ValueError, match=message):
        SA(96, (5, 7), groups=64)


@pytest.mark.parametrize("groups", [None, 4])
def test_an_odd_width_is_refused(groups) -> None:
    with pytest.raises(ValueError, match="even number of channels, got 9"):
        SA(9, (5, 7), groups=groups)
