"""NAM's gate in few passes over x; of the activations only x is kept for backward, and the gate is computed again.

    y = x g,  g = sigmoid(γ x̂ + β),  x̂ = (x - mean) / √(var + ε) along dimension 1

With a = γ / √(var + ε), u = dL/dy and n elements a channel, where mean and variance are those of x:

    ds = u x g (1 - g),  dγ = Σ ds x̂,  dβ = Σ ds,  dx = u g + a ds - a (x̂ dγ + dβ) / n

A GPU is bound by how often it reads and writes the elements of x: torch.compile fuses what it runs to 3 passes forward
(statistics 1, gate 2) and 5 backward (sums 2, gradient 3). A CPU is bound by the sigmoid, too: it takes block after
block, which the cache holds from the first operation to the last, and adds what comes through the statistics later.
"""

import functools
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from namprune.attention.contract import widened
from namprune.batchnorm import pooled, pooled_sums

BLOCK = 131_072
"""Elements that each thread of a CPU takes at once: few enough for its cache, enough to hide what a call costs."""


class Norm(NamedTuple):
    """A normalization along dimension 1 as one product and one sum, a x + b. (C,) each, in at least float32."""

    mean: Tensor
    rstd: Tensor
    """1 / √(var + ε)."""
    a: Tensor
    b: Tensor


def folded(weight: Tensor, bias: Tensor, *, mean: Tensor, var: Tensor, eps: float) -> Norm:
    """Of weight * (x - mean) / √(var + ε) + bias. (C,) each."""
    rstd = (var + eps).rsqrt()
    a = weight * rstd
    return Norm(mean, rstd, a, torch.addcmul(bias, mean, a, value=-1))


@torch.no_grad()
def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and biased variance along dimension 1, (C,) each, and how many elements of a channel they are of.

    Within `batchnorm.whole_batch` x is a part of the batch that they are of.

    Raises:
        ValueError: it is one, which has no variance.
    """
    count = x.numel() // x.shape[1]
    if count < 2:
        raise ValueError(f"batch statistics need more than one value per channel, and {tuple(x.shape)} has one")
    if x.is_cpu:
        mean, var = x.new_zeros(2, x.shape[1], dtype=torch.promote_types(x.dtype, torch.float32))
        mean, var = torch.batch_norm_update_stats(x, mean, var, 0.0)  # for their dtype; they stay as they are
    else:
        var, mean = _fused(variance_and_mean, x)(x)
    return pooled(mean, var, count)


@torch.no_grad()
def gated(x: Tensor, norm: Norm) -> Tensor:
    """x * sigmoid(a x + b), in dtype and memory format of `x`. Records nothing for backward."""
    y = torch.empty_like(x)
    write = _fused(write_gated, x)
    for parts in _blocks(y, x):
        write(*parts, norm)
    return y


class BatchGate(torch.autograd.Function):
    """x * sigmoid(weight * x̂ + bias), where x̂ is normalized by the statistics that x itself has."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, count: int, eps: float
    ) -> Tensor:
        """(N, C, ...) -> (N, C, ...), with what `batch_statistics` says of x."""
        norm = folded(weight, bias, mean=mean, var=var, eps=eps)
        ctx.save_for_backward(x, *norm)
        ctx.count = count
        return gated(x, norm)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """dx, dγ and dβ.

        Raises:
            RuntimeError: they are to be differentiated again.
        """
        if torch.is_grad_enabled():  # once_differentiable would take dx for constant where dL/dy is
            raise RuntimeError("a NAM in training mode has first derivatives only; create_graph=True needs eval mode")
        x, *tensors = ctx.saved_tensors
        norm = Norm(*tensors)
        if x.is_cpu:
            dx, sums = _backward_in_blocks(x, upstream, norm, ctx.count)
        else:
            sums = _fused(gradient_sums, x)(x, upstream, norm)
            whole = pooled_sums(sums, x, count=ctx.count)
            dx = _fused(input_gradient, x)(x, upstream, norm, through_statistics(norm, whole, ctx.count))
        return dx, *sums, None, None, None, None


def _backward_in_blocks(x: Tensor, upstream: Tensor, norm: Norm, count: int) -> tuple[Tensor, Tensor]:
    """dx, and dγ with dβ. What comes through the statistics needs the whole sums, so it is added in a second turn."""
    dx, sums = torch.empty_like(x, dtype=norm.a.dtype), norm.a.new_zeros(2, len(norm.a))
    for out, *inputs in _blocks(dx, x, upstream):
        inner, outer = map(widened, inputs)
        product, ds = _score_gradient(inner, outer, norm)
        sums += _sums(ds, inner, norm)
        torch.addcmul(product, ds, _along(norm.a, x), out=out)
    slope, offset = through_statistics(norm, pooled_sums(sums, x, count=count), count)
    for out, inner in _blocks(dx, x):
        out.add_(_along(offset, x)).addcmul_(widened(inner), _along(slope, x))
    return dx.to(x.dtype), sums


def through_statistics(norm: Norm, sums: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """- a (x̂ dγ + dβ) / n as a product with x and a sum. (C,) each."""
    dweight, dbias = sums / count
    slope = -norm.a * norm.rstd * dweight
    return slope, -norm.a * dbias - slope * norm.mean


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few rows of each; all of them where it is not a CPU that takes them."""
    rows = BLOCK * torch.get_num_threads() // tensors[0].shape[1:].numel() if tensors[0].is_cpu else len(tensors[0])
    return zip(*(torch.split(tensor, max(1, rows)) for tensor in tensors), strict=True)


def _fused(function: Callable[..., Any], x: Tensor) -> Callable[..., Any]:
    return compiled(function) if x.is_cuda and _can_compile(x.device) else function


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """As one kernel, or as few as can be, for any shape: layers differ in it, and cuts change it."""
    return torch.compile(function, dynamic=True)


@functools.cache
def _can_compile(device: torch.device) -> bool:
    return importlib.util.find_spec("triton") is not None and torch.cuda.get_device_capability(device) >= (7, 0)


def _along(values: Tensor, x: Tensor) -> Tensor:
    """(C,) -> (C, 1, ...), to meet dimension 1 of x."""
    return values.view(-1, *[1] * (x.ndim - 2))


def variance_and_mean(x: Tensor) -> tuple[Tensor, Tensor]:
    """Biased variance and mean, (C,) each. One kernel where it is compiled, as are the next three."""
    return torch.var_mean(widened(x), [dim for dim in range(x.ndim) if dim != 1], correction=0)


def _gate(x: Tensor, norm: Norm) -> Tensor:
    return (x * _along(norm.a, x)).add_(_along(norm.b, x)).sigmoid_()


def write_gated(out: Tensor, x: Tensor, norm: Norm) -> None:
    """x * sigmoid(a x + b) into `out`."""
    x = widened(x)
    gate = _gate(x, norm)
    if out.dtype == x.dtype:
        torch.mul(x, gate, out=out)
    else:
        out.copy_(gate.mul_(x))  # torch.mul itself would take a turn through another memory format


def _score_gradient(x: Tensor, upstream: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """u g, and ds."""
    gate = _gate(x, norm)
    ds = torch.addcmul(x, x, gate, value=-1)
    product = gate.mul_(upstream)
    return product, ds.mul_(product)


def _sums(ds: Tensor, x: Tensor, norm: Norm) -> Tensor:
    """dγ and dβ, (2, C)."""
    backward = torch.ops.aten.native_batch_norm_backward  # of which these are two of three results
    only = [False, True, True]
    return torch.stack(backward(ds, x, None, None, None, norm.mean, norm.rstd, True, 0.0, only)[1:])


def gradient_sums(x: Tensor, upstream: Tensor, norm: Norm) -> Tensor:
    """dγ and dβ of x alone, (2, C)."""
    x = widened(x)
    return _sums(_score_gradient(x, widened(upstream), norm)[1], x, norm)


def input_gradient(x: Tensor, upstream: Tensor, norm: Norm, through: tuple[Tensor, Tensor]) -> Tensor:
    """dx, with what comes through the statistics as the factor and the summand that it is of x."""
    wide = widened(x)
    product, ds = _score_gradient(wide, widened(upstream), norm)
    slope, offset = through
    gradient = product + _along(norm.a, x) * ds + _along(slope, x) * wide + _along(offset, x)
    return gradient.to(x.dtype)
