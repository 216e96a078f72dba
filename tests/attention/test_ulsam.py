"""ULSAM against its published composition: chunks, each through depthwise, pooling, pointwise and softmax."""

import pytest
import torch
from torch import Tensor, nn

from namprune.attention.ulsam import ULSAM

STATISTICS = ("running_mean", "running_var")
NAMES = {
    "depthwise_weight": "depthwise.weight",
    "depthwise_bias": "depthwise.bias",
    "point_weight": "pointwise.weight",
    "point_bias": "pointwise.bias",
    **{f"bn.{kind}": f"depthwise_bn.{kind}" for kind in ("weight", "bias", *STATISTICS)},
    **{f"point_bn.{kind}": f"pointwise_bn.{kind}" for kind in ("weight", "bias", *STATISTICS)},
}


class PlainSubspace(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 1, groups=channels)
        self.depthwise_bn = nn.BatchNorm2d(channels)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.pointwise = nn.Conv2d(channels, 1, 1)
        self.pointwise_bn = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        local = self.pool(torch.relu(self.depthwise_bn(self.depthwise(x))))
        scores = torch.relu(self.pointwise_bn(self.pointwise(local)))
        n, _, h, w = x.shape
        attention = torch.softmax(scores.view(n, 1, -1), dim=2).view(n, 1, h, w)
        return x * attention.expand_as(x) + x


class PlainULSAM(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.subspaces = nn.ModuleList(PlainSubspace(channels // groups) for _ in range(groups))

    def forward(self, x: Tensor) -> Tensor:
        chunks = torch.chunk(x, len(self.subspaces), dim=1)
        return torch.cat([subspace(chunk) for subspace, chunk in zip(self.subspaces, chunks, strict=True)], dim=1)


@pytest.mark.parametrize("groups", [1, 2, 4, 16])
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_composition_of_subspaces(groups, training, assert_agree, randomised, features) -> None:
    names = {ours: [f"subspaces.{group}.{theirs}" for group in range(groups)] for ours, theirs in NAMES.items()}
    module = randomised(ULSAM(16, (5, 7), groups=groups))
    assert_agree(module, PlainULSAM(16, groups), names, features(16), training=training)


@pytest.mark.parametrize(("groups", "count"), [(1, 2563), (4, 2572)])
def test_parameters_are_those_of_the_published_code(groups, count) -> None:
    # 5 per channel and 3 per map; the paper itself counts 2 per channel, without biases and normalization.
    assert sum(parameter.numel() for parameter in ULSAM(512, (5, 7), groups=groups).parameters()) == count


@pytest.mark.parametrize("name", ["depthwise_weight", "depthwise_bias", "point_weight", "point_bias"])
def test_starts_within_the_bounds_of_convolutions(name) -> None:
    torch.manual_seed(0)
    own = getattr(ULSAM(256, (5, 7), groups=1), name)
    convolution = PlainSubspace(256).get_parameter(NAMES[name])
    bound = 1.0 if name.startswith("depthwise") else 1 / 16  # one over the root of the inputs
    for values in (own, convolution):
        assert values.abs().max() <= bound
        assert values.numel() == 1 or values.abs().max() > 0.9 * bound


def test_groups_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"attention\.groups: 5 subspaces do not divide 16 channels"):
        ULSAM(16, (5, 7), groups=5)
