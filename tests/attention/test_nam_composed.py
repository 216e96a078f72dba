"""NAM where it is computed in other ways than usual: in half precision, under transforms, of nothing, untracked."""

import copy

import pytest
import torch
from torch import Tensor

from namprune.attention import NAM
from namprune.attention.nam import NAMChannel

CHANNELS, SIZE = 6, (5, 7)
PARTS = ("channel", "spatial", "both")


def images(*, batch: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(batch, CHANNELS, *SIZE, generator=torch.Generator().manual_seed(seed)) + 0.3


def few_roundings(own: Tensor, other: Tensor, dtype: torch.dtype) -> None:
    torch.testing.assert_close(own.float(), other.float(), rtol=0, atol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_in_half_precision_it_is_a_few_roundings_away_from_float32(grad, training, dtype, part, randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part=part, scale="mean")).to(dtype).train(training)
    reference = copy.deepcopy(module).float()
    x = images(batch=64).to(dtype)
    with torch.set_grad_enabled(grad):
        out = module(x)
        few_roundings(out, reference(x.float()), dtype)
    assert out.dtype == dtype
    for own, other in zip(module.buffers(), reference.buffers(), strict=True):
        few_roundings(own, other, dtype)
    if grad:
        out.float().square().sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_in_half_precision_the_compiler_sees_one_graph_that_does_the_same(randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part="both")).bfloat16()
    other = copy.deepcopy(module)
    x = images(batch=64).bfloat16()
    torch.compiler.reset()  # it compiles one function only so often
    few_roundings(torch.compile(other, backend="eager", fullgraph=True)(x), module(x), x.dtype)
    torch.compiler.reset()
    torch.testing.assert_close(dict(other.named_buffers()), dict(module.named_buffers()))


@pytest.mark.parametrize("part", PARTS)
def test_transforms_of_functions_see_through_it(part, randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part=part))
    x = images()
    parameters = dict(module.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(module, parameters, (x,)).square().sum()

    gradients = torch.func.grad(loss, argnums=(0, 1))(parameters, x)
    expected = torch.autograd.grad(loss(parameters, x.requires_grad_()), [*parameters.values(), x])
    torch.testing.assert_close([*gradients[0].values(), gradients[1]], [*expected], rtol=1e-4, atol=1e-4)
    module.eval()
    with torch.no_grad():
        stacked = torch.stack([images(), images(seed=2)])
        torch.testing.assert_close(torch.vmap(module)(stacked), torch.stack([module(x) for x in stacked]))


@pytest.mark.parametrize("part", PARTS)
def test_an_empty_batch_in_training_changes_nothing(part, randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part=part))
    before = copy.deepcopy(module.state_dict())
    x = images()[:0].requires_grad_()
    module(x).sum().backward()
    assert x.grad.shape == x.shape
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


def test_without_running_statistics_it_takes_those_of_the_batch(randomised) -> None:
    module = randomised(NAMChannel(CHANNELS))
    expected = module(images())
    module.gate.bn.running_mean = module.gate.bn.running_var = None  # what track_running_stats=False comes to
    torch.testing.assert_close(module(images()), expected)
