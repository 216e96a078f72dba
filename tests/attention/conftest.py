"""Attention modules as after training, feature maps for them, and the comparison with a plain composition."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn

SIZE = (5, 7)


def _randomised(module: nn.Module, *, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, generator=generator)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0, generator=generator)
    return module


def _features(channels: int, *, batch: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(batch, channels, *SIZE, generator=torch.Generator().manual_seed(seed)) + 0.3


def _learned(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and running statistics by name."""
    named = itertools.chain(network.named_parameters(), network.named_buffers())
    return {name: tensor for name, tensor in named if tensor.is_floating_point()}


def _joined(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _assert_agree(
    module: nn.Module, plain: nn.Module, names: Mapping[str, Sequence[str]], x: Tensor, *, training: bool
) -> None:
    module, plain, x = module.double().train(training), plain.double().train(training), x.double()
    ours, theirs = _learned(module), _learned(plain)
    assert ours.keys() == names.keys()
    assert theirs.keys() == set(itertools.chain(*names.values()))
    with torch.no_grad():
        for name, parts in names.items():
            for part, value in zip(parts, ours[name].chunk(len(parts)), strict=True):
                theirs[part].copy_(value.view_as(theirs[part]))

    upstream = _features(x.shape[1], batch=len(x), seed=2).double()
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outs = [network(one) for network, one in zip((module, plain), inputs, strict=True)]
    for out in outs:
        out.backward(upstream)

    exactly = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(*outs, **exactly)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, **exactly)
    for name, parts in names.items():
        own, others = ours[name], [theirs[part] for part in parts]
        torch.testing.assert_close(own.flatten(), _joined(others), **exactly)
        if own.requires_grad:
            torch.testing.assert_close(own.grad.flatten(), _joined(other.grad for other in others), **exactly)


@pytest.fixture
def randomised() -> Callable[..., nn.Module]:
    """Gives a module parameters of both signs and statistics as after training."""
    return _randomised


@pytest.fixture
def features() -> Callable[..., Tensor]:
    """(batch, channels, 5, 7), not centred."""
    return _features


@pytest.fixture
def assert_agree() -> Callable[..., None]:
    """Holds a module against a plain composition with the same values, in float64.

    Output, running statistics, and the gradients of input and parameters. `names` says for each tensor of the module
    which one of the composition it is, or of which ones it is made, one after the other.
    """
    return _assert_agree
