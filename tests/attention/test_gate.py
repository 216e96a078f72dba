"""The gate in few passes against the same gate in PyTorch's own operations."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from namprune.attention import gate
from namprune.attention.gate import BatchGate, Norm, batch_statistics, compiled, folded, gated

CHANNELS, EPS = 6, 1e-5
FORMATS = {
    4: [torch.contiguous_format, torch.channels_last],
    3: [torch.contiguous_format],
    2: [torch.contiguous_format],
}
LAYOUTS = [(ndim, memory_format) for ndim, formats in FORMATS.items() for memory_format in formats]


def inputs(*shape: int, seed: int = 0, **options) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.3).to(**options)


def features(ndim: int, memory_format: torch.memory_format, *, seed: int = 0, dtype=torch.float64) -> Tensor:
    return inputs(*(9, CHANNELS, 5, 7)[:ndim], seed=seed, dtype=dtype, memory_format=memory_format)


def affine(*, device: str = "cpu", dtype=torch.float64) -> tuple[Tensor, Tensor]:
    return tuple(inputs(CHANNELS, seed=seed, device=device, dtype=dtype).requires_grad_() for seed in (1, 2))


def in_few_passes(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return BatchGate.apply(x, weight, bias, *batch_statistics(x), EPS)


def composed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x * torch.sigmoid(F.batch_norm(x, None, None, weight, bias, training=True, eps=EPS))


def results(function: Callable[..., Tensor], x: Tensor, upstream: Tensor, *norm: Tensor) -> tuple[Tensor, ...]:
    """y, dx, dγ and dβ."""
    x = x.clone().requires_grad_()
    y = function(x, *norm)
    return y.detach(), *torch.autograd.grad(y, [x, *norm], upstream)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("ndim", "memory_format"), LAYOUTS)
@pytest.mark.parametrize("block", [1, 500, gate.BLOCK])
def test_equals_the_composition_however_many_blocks_it_takes(block, ndim, memory_format, dtype, monkeypatch) -> None:
    monkeypatch.setattr(gate, "BLOCK", block)  # a row each, some, and all
    x, upstream = (features(ndim, memory_format, seed=seed, dtype=dtype) for seed in (0, 3))
    norm = affine(dtype=torch.promote_types(dtype, torch.float32))
    own = results(in_few_passes, x, upstream, *norm)
    expected = results(composed, x.double(), upstream.double(), *affine())
    for tensor, other, of_x in zip(own, expected, [True, True, False, False], strict=True):
        bound = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2**-8 if of_x else 2e-6}[dtype]
        torch.testing.assert_close(tensor.double(), other, rtol=bound, atol=bound / 10 if of_x else bound * 10)
        if of_x:
            assert (tensor.dtype, tensor.stride()) == (dtype, x.stride())


@pytest.mark.parametrize(("ndim", "memory_format"), LAYOUTS)
def test_gradients_are_those_of_finite_differences(ndim, memory_format) -> None:
    x = inputs(*(4, CHANNELS, 2, 3)[:ndim], dtype=torch.float64, memory_format=memory_format).requires_grad_()
    torch.autograd.gradcheck(in_few_passes, (x, *affine()))


def test_backward_takes_an_upstream_of_another_layout() -> None:
    x = features(4, torch.channels_last)
    for upstream in (torch.ones(()).double().expand(x.shape), features(4, torch.contiguous_format, seed=3)):
        for own, other in zip(*(results(f, x, upstream, *affine()) for f in (in_few_passes, composed)), strict=True):
            torch.testing.assert_close(own, other)


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    x = features(2, torch.contiguous_format).requires_grad_()
    y = in_few_passes(x, *affine()).sum()
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(y, x, create_graph=True)


@pytest.mark.parametrize(("ndim", "memory_format"), LAYOUTS)
def test_batch_statistics(ndim, memory_format) -> None:
    x = features(ndim, memory_format)
    mean, var, count = batch_statistics(x)
    dims = [dim for dim in range(ndim) if dim != 1]
    torch.testing.assert_close(mean, x.mean(dims))
    torch.testing.assert_close(var, x.var(dims, correction=0))
    assert count == x.numel() // CHANNELS


def test_batch_statistics_of_one_value_are_refused() -> None:
    with pytest.raises(ValueError, match=r"more than one value per channel, and \(1, 6, 1, 1\) has one"):
        batch_statistics(inputs(1, CHANNELS, 1, 1))


def test_gated_takes_an_empty_batch_and_records_nothing() -> None:
    y = gated(inputs(0, CHANNELS, 3, 3).requires_grad_(), Norm(*torch.ones(4, CHANNELS)))
    assert y.shape == (0, CHANNELS, 3, 3)
    assert not y.requires_grad


@pytest.mark.slow
def test_what_a_gpu_compiles_gives_the_same_when_compiled_for_the_cpu() -> None:
    """One compilation each, then another shape."""
    counted = torch._dynamo.utils.counters["stats"]  # noqa: SLF001
    before = counted["unique_graphs"]
    for batch, channels in ((9, CHANNELS), (5, 2 * CHANNELS)):
        x, upstream, y = (
            inputs(batch, channels, 5, 7, seed=seed, dtype=torch.bfloat16, memory_format=torch.channels_last)
            for seed in (0, 3, 4)
        )
        weight, bias = (inputs(channels, seed=seed) for seed in (1, 2))
        var, mean = compiled(gate.variance_and_mean)(x)
        norm = folded(weight, bias, mean=mean, var=var, eps=EPS)
        compiled(gate.write_gated)(y, x, norm)
        sums = compiled(gate.gradient_sums)(x, upstream, norm)
        through = gate.through_statistics(norm, sums, x.numel() // channels)
        dx = compiled(gate.input_gradient)(x, upstream, norm, through)
        expected = results(composed, x.float(), upstream.float(), weight.requires_grad_(), bias.requires_grad_())
        for own, other in zip((y, dx, *sums), expected, strict=True):
            bound = 2**-8 if own.dtype == torch.bfloat16 else 1e-5
            torch.testing.assert_close(own.float(), other, rtol=bound, atol=bound / 10)
        assert dx.stride() == x.stride()
    assert counted["unique_graphs"] - before == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("layout", "dtype"), list(itertools.product(LAYOUTS, [torch.float32, torch.bfloat16])))
def test_equals_the_composition_on_a_gpu(layout, dtype) -> None:
    x, upstream = (features(*layout, seed=seed, dtype=dtype).cuda() for seed in (0, 3))
    own = results(in_few_passes, x, upstream, *affine(device="cuda", dtype=torch.float32))
    expected = results(composed, x.double(), upstream.double(), *affine(device="cuda"))
    for tensor, other in zip(own, expected, strict=True):
        bound = 2**-8 if tensor.dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(tensor.double(), other, rtol=bound, atol=bound / 10)
    assert own[0].stride() == own[1].stride() == x.stride()
