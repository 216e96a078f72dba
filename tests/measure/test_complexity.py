import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from namprune.attention import NAM
from namprune.measure import complexity, layer_macs

SHAPE = (3, 6, 5)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        NAM(4, (6, 5), part="both"),
        nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=False), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(8 * 3 * 3, 10),
    )


BY_HAND = {
    "0": 4 * 3 * 9 * 6 * 5,
    "2": 2 * 2 * 4 * 6 * 5,  # two gates, an affine and a product each
    "3.0": 8 * 2 * 9 * 3 * 3,  # each output channel sees half of the four inputs
    "5": 8 * 3 * 3 * 10,
}


def test_macs_by_hand() -> None:
    assert layer_macs(network(), SHAPE) == BY_HAND
    cost = complexity(network(), SHAPE)
    assert cost.macs == sum(BY_HAND.values())
    assert cost.macs_aten == cost.macs - BY_HAND["2"]


def test_batchnorm_counts_nothing() -> None:
    plain = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Flatten(), nn.Linear(4, 2))
    normed = nn.Sequential(nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    assert complexity(plain, (3, 1)).macs == complexity(normed, (3, 1)).macs == 3 * 4 + 4 * 2


def test_parameters_and_bytes_by_hand() -> None:
    norms = 4 + 4 + 6 * 5  # factors of BatchNorm, channel part and spatial part, each with as many offsets
    params = (4 * 3 * 9 + 4) + 2 * norms + 8 * 2 * 9 + (8 * 3 * 3 * 10 + 10)
    cost = complexity(network(), SHAPE)
    assert cost.params == params
    assert cost.bytes == 4 * (params + 2 * norms) + 3 * 8  # running statistics, and an int64 counter per norm


def test_cost_is_of_one_picture() -> None:
    model = network().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(8, *SHAPE))
    assert counter.get_total_flops() == 8 * 2 * complexity(model, SHAPE).macs_aten


@pytest.mark.parametrize("training", [True, False])
def test_network_is_left_as_it_was(training) -> None:
    model = network().train(training)
    model[1].train(not training)
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    complexity(model, SHAPE)
    assert [module.training for module in model.modules()] == modes
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())  # noqa: SLF001 - there is no public view


def test_counting_twice_gives_the_same() -> None:
    model = network()
    assert complexity(model, SHAPE) == complexity(model, SHAPE)


def test_subclasses_of_layers_count_as_layers() -> None:
    class Convolution(nn.Conv2d):
        pass

    class Head(nn.Linear):
        pass

    model = nn.Sequential(Convolution(3, 4, 3), nn.Flatten(), Head(4 * 36, 5))
    assert layer_macs(model, (3, 8, 8)) == {"0": 3 * 4 * 9 * 36, "2": 4 * 36 * 5}
