"""BatchNorm over the whole batch, of which each process of a group sees a part.

torch's SyncBatchNorm is a layer of its own, for CUDA alone. Here the layers stay what they are: `whole_batch` reaches
every BatchNorm that is computed within it. With the means and variances of n equal parts

    mean = Σ mean_i / n,  var = Σ var_i / n + Σ (mean_i - mean)² / n

and in the backward pass, with the sums over the parts of dy and of dy * x̂,

    dx = weight / std * (dy - Σdy / N - x̂ * Σ(dy * x̂) / N)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from namprune.distributed import gathered, size, summed

_parts = ContextVar("parts", default=1)


@contextmanager
def whole_batch(on: bool = True) -> Iterator[None]:
    """Within it a BatchNorm in training mode has the statistics of the batches of all processes."""
    if not on or size() == 1:
        yield
        return
    token = _parts.set(size())
    try:
        with _Rerouted():
            yield
    finally:
        _parts.reset(token)


def pooled(mean: Tensor, var: Tensor, count: int) -> tuple[Tensor, Tensor, int]:
    """Mean, biased variance and elements of a channel: of the batch, within `whole_batch`, from those of its parts."""
    if (parts := _parts.get()) == 1:
        return mean, var, count
    means, variances = gathered(torch.stack([mean, var])).unbind(1)  # (parts, C)
    return means.mean(0), variances.mean(0) + means.var(0, correction=0), count * parts


def pooled_sums(sums: Tensor, x: Tensor, *, count: int) -> Tensor:
    """`sums` over x, or over the batch that it is a part of, if that has the `count` elements of a channel."""
    return summed(sums.clone()) if count > x.numel() // x.shape[1] else sums


class _Rerouted(TorchFunctionMode):
    """Gives every `F.batch_norm` in training mode to `batch_norm`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Pass everything else on."""
        return (batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm` of (N, C, ...), normalized over N of all processes and the positions."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    var, mean = torch.var_mean(wide, [0, *range(2, x.dim())], correction=0)  # (C,)
    mean, var, count = pooled(mean, var, x.numel() // x.shape[1])
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((var * (count / (count - 1))).to(running_var.dtype), momentum)
    if weight is None or bias is None:
        weight, bias = torch.ones_like(mean), torch.zeros_like(mean)
    out: Tensor = _Normalized.apply(x, weight, bias, mean, var, count, eps)
    return out


class _Normalized(torch.autograd.Function):
    """Normalization by statistics of the whole batch, on which x of every process had its part."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, count: int, eps: float
    ) -> Tensor:
        """(N, C, ...) -> (N, C, ...)."""
        ctx.save_for_backward(x, weight, mean, var)
        ctx.count, ctx.eps = count, eps
        return F.batch_norm(x, mean, var, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The kernel takes the statistics for constants; what is missing is one affine function of x per channel."""
        x, weight, mean, var = ctx.saved_tensors
        grad_x, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            *(upstream, x, weight, mean, var, None, None, False, ctx.eps, [True] * 3)
        )
        sums = pooled_sums(torch.stack([grad_weight, grad_bias]), x, count=ctx.count)
        over_x, over_1 = sums / ctx.count  # (C,)
        std = (var + ctx.eps).sqrt()
        slope = weight * over_x / std.square()
        shift = weight * over_1 / std - slope * mean
        shape = (1, -1, *(1 for _ in range(x.dim() - 2)))
        return grad_x.sub_(slope.view(shape) * x + shift.view(shape)), grad_weight, grad_bias, *[None] * 4
