"""BAM against its published layers, with the paper's sum and the released product of the branches."""

import pytest
import torch
from torch import Tensor, nn

from namprune.attention.bam import BAM

NAMES = {
    "squeeze": "channel.2",
    "bn": "channel.3",
    "excite": "channel.5",
    "reduce": "spatial.0",
    "context.0": "spatial.1",
    "context.2": "spatial.3",
    "context.3": "spatial.4",
    "context.5": "spatial.6",
    "context.6": "spatial.7",
    "context.8": "spatial.9",
}
NORMS = {"bn", "context.0", "context.3", "context.6"}


class PlainBAM(nn.Module):
    def __init__(self, channels: int, hidden: int, *, dilation: int, combine: str) -> None:
        super().__init__()
        self.combine = combine
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        channel = self.channel(x)[:, :, None, None].expand_as(x)
        spatial = self.spatial(x).expand_as(x)
        return (1 + torch.sigmoid(channel + spatial if self.combine == "sum" else channel * spatial)) * x


@pytest.mark.parametrize(("reduction", "dilation"), [(16, 4), (4, 2)])
@pytest.mark.parametrize("combine", ["sum", "mul"])
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_plain_composition(
    reduction, dilation, combine, training, assert_agree, randomised, features
) -> None:
    kinds = {name: ("weight", "bias", *(("running_mean", "running_var") if name in NORMS else ())) for name in NAMES}
    assert_agree(
        randomised(BAM(32, (5, 7), reduction=reduction, dilation=dilation, combine=combine)),
        PlainBAM(32, max(4, 32 // reduction), dilation=dilation, combine=combine),
        {f"{ours}.{kind}": [f"{theirs}.{kind}"] for ours, theirs in NAMES.items() for kind in kinds[ours]},
        features(32),
        training=training,
    )


@pytest.mark.parametrize(("channels", "count"), [(64, 1173), (256, 17361), (512, 68513)])
def test_parameters_are_those_of_the_published_code(channels, count) -> None:
    assert sum(parameter.numel() for parameter in BAM(channels, (5, 7)).parameters()) == count
