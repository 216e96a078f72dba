"""CBAM against its published layers, and what its maximum over the channels means for removal."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.attention.cbam import CBAM

NAMES = {
    "squeeze.weight": ["mlp.1.weight"],
    "squeeze.bias": ["mlp.1.bias"],
    "excite.weight": ["mlp.3.weight"],
    "excite.bias": ["mlp.3.bias"],
    "conv.weight": ["conv.weight"],
    **{f"bn.{kind}": [f"bn.{kind}"] for kind in ("weight", "bias", "running_mean", "running_var")},
}
KEEP = torch.tensor([0, 3, 4, 7, 11, 13])


class PlainCBAM(nn.Module):
    def __init__(self, channels: int, hidden: int, *, kernel: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.conv = nn.Conv2d(2, 1, kernel, padding=(kernel - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        whole = x.shape[2:]
        scores = self.mlp(F.avg_pool2d(x, whole)) + self.mlp(F.max_pool2d(x, whole))
        x = x * torch.sigmoid(scores)[:, :, None, None].expand_as(x)
        maps = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
        return x * torch.sigmoid(self.bn(self.conv(maps)))


@pytest.mark.parametrize(("reduction", "hidden", "kernel"), [(16, 4, 7), (4, 8, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_plain_composition(reduction, hidden, kernel, training, assert_agree, randomised, features) -> None:
    module = randomised(CBAM(32, (5, 7), reduction=reduction, kernel=kernel))
    plain = PlainCBAM(32, hidden, kernel=kernel)
    assert_agree(module, plain, NAMES, features(32), training=training)


@pytest.mark.parametrize(("channels", "count"), [(64, 680), (256, 8564), (512, 33412)])
def test_parameters_are_those_of_the_published_code(channels, count) -> None:
    assert sum(parameter.numel() for parameter in CBAM(channels, (5, 7)).parameters()) == count


def test_spatial_gate_starts_at_one_half_everywhere(features) -> None:
    module, x = CBAM(16, (5, 7)), features(16)
    out = module(x)
    factors = out / x
    torch.testing.assert_close(factors, factors[:, :, :1, :1].expand_as(x))  # no position differs from another
    with torch.no_grad():
        module.bn.bias.fill_(50.0)  # opens the spatial gate
    torch.testing.assert_close(out, 0.5 * module(x))


@torch.no_grad()
def differences(module: CBAM, x: Tensor) -> tuple[float, float]:
    """By how much the pruned module differs from the dense one whose maximum sees the zeros, and whose does not."""
    masked = torch.zeros_like(x)
    masked[:, KEEP] = x[:, KEEP]
    pruned, without_zeros = copy.deepcopy(module), copy.deepcopy(module)
    pruned.prune(KEEP)
    without_zeros.mask(KEEP)
    out = pruned(x[:, KEEP])
    seen, unseen = (float((out - dense(masked)[:, KEEP]).abs().max()) for dense in (module, without_zeros))
    return seen, unseen


@pytest.mark.parametrize("shift", [0.8, 6.0])
def test_zeros_in_the_maximum_are_harmless_where_every_maximum_is_positive(shift, randomised, features) -> None:
    module, x = randomised(CBAM(16, (5, 7))).double().eval(), features(16).double() + shift
    assert x[:, KEEP].amax(1).min() > 0  # at every position some kept channel is positive, whatever the others are
    assert max(differences(module, x)) < 1e-12


def test_zeros_win_the_maximum_where_every_kept_channel_is_negative(randomised, features) -> None:
    module, x = randomised(CBAM(16, (5, 7))).double().eval(), features(16).double() - 4.0
    assert x.max() < 0
    seen, unseen = differences(module, x)
    assert seen > 1e-3
    assert unseen < 1e-12
