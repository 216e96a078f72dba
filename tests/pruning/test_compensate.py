import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from namprune.pruning import ChannelGraph, PruningPlan, compensate, make_plan
from namprune.pruning.compensate import input_means

INPUT = (3, 8, 8)


class _Net(nn.Module):
    """A stream with two branches and two readers besides the classifier; no layer pads."""

    def __init__(self, *, bias: bool = False, norm: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.outer = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Conv2d(8, 8, 3, bias=bias)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.classifier = nn.Linear(8 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.outer(self.inner(x)))
        x = torch.relu(self.norm(self.head(x)))
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


@torch.no_grad()
def _with_constants(model: nn.Module) -> nn.Module:
    """γ = 0 and β > 0 for half of the channels of every BatchNorm: the same in all, so those of the stream, too."""
    for norm in [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]:
        norm.weight.uniform_(0.5, 1.5)
        norm.weight[::2] = 0
        norm.bias.uniform_(0.5, 1.5)
        norm.running_mean.normal_()
    return model.eval()


def _batches(count: int = 2) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(4, *INPUT, generator=generator), torch.zeros(4, dtype=torch.int64)) for _ in range(count)]


def _planned(model: nn.Module) -> tuple[ChannelGraph, PruningPlan]:
    graph = ChannelGraph(model, INPUT)
    return graph, make_plan(graph, INPUT, ratio=0.5, criterion="bn", scope="local")


@pytest.mark.parametrize("bias", [False, True])
def test_constant_channels_cost_nothing(bias: bool) -> None:
    torch.manual_seed(0)
    model = _with_constants(_Net(bias=bias))
    plain = copy.deepcopy(model)
    pictures = torch.randn(6, *INPUT)
    expected = model(pictures).detach()
    for network, limit in ((model, 2), (plain, 0)):
        graph, plan = _planned(network)
        assert all(cut.kept == (1, 3, 5, 7) for cut in plan.groups)
        if limit:
            assert compensate(graph, plan, _batches(), limit=limit) == ()
        plan.apply(network, pictures=pictures, graph=graph)
    torch.testing.assert_close(model(pictures), expected, atol=1e-5, rtol=1e-5)
    assert (plain(pictures) - expected).abs().max() > 0.1


def test_a_reader_with_nowhere_to_put_it_is_named() -> None:
    model = _with_constants(_Net(norm=False))
    graph = ChannelGraph(model, INPUT)
    plan = make_plan(graph, INPUT, ratio=0.5, criterion="bn")
    before = model.head.weight.clone()
    assert compensate(graph, plan, _batches(), limit=1) == ("head",)
    assert torch.equal(model.head.weight, before)


def test_means_are_those_of_what_a_layer_reads(make_network: Callable[..., nn.Module]) -> None:
    model, batches = make_network("resnet20", "channel").train(), _batches(3)
    state = copy.deepcopy(model.state_dict())
    means = input_means(model, ["stages.1.0.conv1", "classifier"], batches, limit=2)
    assert model.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        read = model.eval().stages[0](model.stem(torch.cat([x for x, _ in batches[:2]])))
        pooled = model.stages[2](model.stages[1](read)).mean((2, 3))
    torch.testing.assert_close(means["stages.1.0.conv1"], read.mean((0, 2, 3)))
    torch.testing.assert_close(means["classifier"], pooled.mean(0))
