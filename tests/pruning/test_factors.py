import pytest
import torch
from torch import Tensor, nn

from namprune.attention import NAM
from namprune.models import AttentionPlan
from namprune.models.resnet import cifar_resnet
from namprune.pruning import IMPORTANCES, ChannelGraph, ChannelGroup
from namprune.pruning.factors import FLAT, near_zero
from namprune.pruning.group import Member


def _bn(factors: list[float] | Tensor) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(len(factors))
    norm.weight.data = torch.as_tensor(factors)
    return norm


def _shares(factors: Tensor) -> Tensor:
    return factors.abs() / factors.abs().mean()


def _smoothed_shares(factors: Tensor) -> Tensor:
    return (factors.abs() + 0.01) / (factors.abs().mean() + 0.01)


def _reading(layer: nn.Module) -> Tensor:
    """Per layer normalized norm of what reads each input, one by one."""
    columns = torch.stack([layer.weight[:, index].detach().norm() for index in range(layer.weight.shape[1])])
    return columns / columns.mean()


def test_nam_is_the_largest_product_over_the_blocks_of_a_stream_times_the_largest_reading() -> None:
    model = cifar_resnet(14, input_shape=(3, 8, 8), classes=3, attention=AttentionPlan(NAM, "block"))
    factors = {}
    for name in ("stem.1", "stages.0.0.bn2", "stages.0.1.bn2"):
        factors[name] = model.get_submodule(name).weight.data = torch.randn(16)
    for name in ("stages.0.0.attention", "stages.0.1.attention"):
        factors[name] = model.get_submodule(name).channel.gamma.data = torch.randn(16)
    group = next(group for group in ChannelGraph(model, (3, 8, 8)).groups if group.root == "stem.0")
    n = {name: _shares(values) for name, values in factors.items()}
    expected = torch.stack(
        [
            n["stem.1"],  # no attention behind the stem
            n["stages.0.0.bn2"] * _smoothed_shares(factors["stages.0.0.attention"]),
            n["stages.0.1.bn2"] * _smoothed_shares(factors["stages.0.1.attention"]),
        ]
    ).amax(0)
    readers = ("stages.0.0.conv1", "stages.0.1.conv1", "stages.1.0.conv1", "stages.1.0.shortcut.0")
    reading = torch.stack([_reading(model.get_submodule(name)) for name in readers]).amax(0)
    torch.testing.assert_close(IMPORTANCES["nam"](group), expected * reading)
    plain = torch.stack([n["stem.1"], n["stages.0.0.bn2"], n["stages.0.1.bn2"]]).amax(0)
    torch.testing.assert_close(IMPORTANCES["bn"](group), plain)


def test_a_channel_is_read_by_all_that_a_flattening_makes_of_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5 * 16, 4))
    nn.init.uniform_(model[1].weight)
    (group,) = ChannelGraph(model, (3, 4, 4)).groups
    reading = model[3].weight.detach().reshape(4, 5, 16).permute(1, 0, 2).reshape(5, 64).norm(dim=1)
    expected = _shares(model[1].weight.detach()) * reading / reading.mean()
    torch.testing.assert_close(IMPORTANCES["nam"](group), expected)


def test_spatial_nam_adds_nothing_to_a_channels_score(make_group) -> None:
    factors = torch.rand(6)
    gate = NAM(6, (2, 2), part="spatial")
    gate.spatial.lambda_.data.uniform_()
    group = make_group(nn.Conv2d(1, 6, 1), _bn(factors), gate, size=6, fed_by="1")
    torch.testing.assert_close(IMPORTANCES["nam"](group), _shares(factors))


@pytest.mark.parametrize("name", ["nam", "bn"])
def test_without_batchnorm_there_is_nothing_to_judge_by(make_group, name: str) -> None:
    assert IMPORTANCES[name](make_group(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4, affine=False), size=4)) is None


@pytest.mark.parametrize("name", ["nam", "bn"])
def test_a_dead_layers_noise_ranks_low(make_group, name: str) -> None:
    noise = 1e-5 * torch.rand(8)
    dead = IMPORTANCES[name](make_group(_bn(noise), size=8))
    assert dead is not None
    torch.testing.assert_close(dead, noise / FLAT)
    assert dead.max() < 0.01  # where the mean of a living layer is 1


def test_a_dead_nam_says_nothing_and_a_dead_batchnorm_much(make_group) -> None:
    # the same penalty on both: the task's gradient on NAM's factors is 1/C of the other, and they die first
    live, noise, gate = torch.rand(8) + 0.5, 1e-5 * torch.rand(8), NAM(8, (2, 2))
    gate.channel.gamma.data = noise
    gated = IMPORTANCES["nam"](make_group(nn.Conv2d(1, 8, 1), _bn(live), gate, size=8, fed_by="1"))
    torch.testing.assert_close(gated, _shares(live), rtol=2e-3, atol=0)


def test_several_positions_per_channel_count_by_the_largest() -> None:
    norm = nn.BatchNorm1d(6)
    norm.weight.data = torch.tensor([0.1, 0.9, 0.2, 0.2, 0.6, 1.0])
    member = Member("0", norm, "both", torch.arange(6), torch.tensor([0, 0, 1, 1, 2, 2]))
    scores = IMPORTANCES["bn"](ChannelGroup("fc", 3, (member,)))
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.2, 1.0]) / 0.5)


def test_near_zero_needs_every_batchnorm_of_the_channel(make_group) -> None:
    stream = make_group(_bn([0.0, 0.005, 1.0, 0.5]), _bn([0.009, 0.3, 0.0, 0.5]), size=4)
    both = torch.arange(2)
    inner = ChannelGroup("inner", 2, (Member("2", _bn([0.0099, 0.011]), "both", both, both),))
    # the threshold is 1 % of the 1.0: channel 0 of the stream and channel 0 of the inner group
    assert [mask.tolist() for mask in near_zero([stream, inner])] == [[True, False, False, False], [True, False]]
    assert not near_zero([make_group(nn.Conv2d(1, 4, 1), size=4)])[0].any()
    assert near_zero([]) == []
