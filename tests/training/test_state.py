"""The state of an optimizer and of the generators, there and back."""

import pytest
import torch
from torch import Tensor, nn

from namprune.optim import build_optimizer
from namprune.training.state import generator_tensors, load_generators, load_optimizer, optimizer_tensors


def _network() -> nn.Module:
    """Two groups of parameters, in the memory format that trainings have."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def _optimizer(model: nn.Sequential, name: str) -> torch.optim.Optimizer:
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.1}
    return build_optimizer(model, name=name, no_decay=[model[1].weight], **options)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(seed)).to(memory_format=torch.channels_last)
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def _stored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As they come out of a file: contiguous."""
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_an_optimizer_goes_on_to_the_same_bits_in_any_memory_format(name: str) -> None:
    model, later = _network(), _network()
    optimizer = _optimizer(model, name)
    for seed in range(3):
        _step(model, optimizer, seed)
    later.load_state_dict(_stored(model.state_dict()))
    taken_up = _optimizer(later, name)
    load_optimizer(later, taken_up, _stored(optimizer_tensors(model, optimizer)))
    for group, other in zip(optimizer.param_groups, taken_up.param_groups, strict=True):
        assert group["weight_decay"] == other["weight_decay"]
    for seed in range(3, 6):
        _step(model, optimizer, seed)
        _step(later, taken_up, seed)
    for one, other in zip(model.parameters(), later.parameters(), strict=True):
        assert torch.equal(one, other)
    assert optimizer_tensors(model, optimizer).keys() == optimizer_tensors(later, taken_up).keys()


def test_names_are_those_of_the_parameters() -> None:
    model = _network()
    names = [*optimizer_tensors(model, _optimizer(model, "sgd"))]
    assert names == [f"optimizer.{name}.momentum_buffer" for name, _ in model.named_parameters()]


def test_the_generators_draw_on() -> None:
    torch.rand(3)
    state = {name: tensor.clone() for name, tensor in generator_tensors(torch.device("cpu")).items()}
    drawn = torch.rand(5)
    torch.manual_seed(1)
    load_generators(torch.device("cpu"), state)
    assert torch.equal(torch.rand(5), drawn)
