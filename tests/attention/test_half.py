"""The constant gate 0.5."""

import torch

from namprune.attention.half import Half
from namprune.attention.nam import NAM


def test_halves_what_comes_in_and_its_gradient(features) -> None:
    module, x = Half(6, (5, 7)), features(6).requires_grad_()
    out = module(x)
    out.sum().backward()
    assert torch.equal(out, x / 2)
    assert torch.equal(x.grad, torch.full_like(x, 0.5))
    assert list(module.parameters()) == []


def test_is_what_a_nam_without_factors_computes(features) -> None:
    nam = NAM(6, (5, 7))
    torch.nn.init.zeros_(nam.channel.gamma)
    x = features(6)
    assert torch.equal(Half(6, (5, 7))(x), nam(x))


def test_width_goes_with_its_tensors() -> None:
    module = Half(6, (5, 7))
    module.prune(torch.tensor([1, 4]))
    assert module.channels == 2
    assert {tensor.shape for tensor in module.state_dict().values()} == {(2, 0)}
