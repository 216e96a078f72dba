"""NAM, normalization-based attention (Liu et al., 2021), https://arxiv.org/abs/2111.12419.

Channel part, γ and β of a BatchNorm of its own over the channels:

    y = x * sigmoid(w * BN(x)),  w_c = |γ_c| / Σ|γ|

Spatial part ("pixel normalization"), λ of a BatchNorm over the H*W positions, where each position is
normalized over batch and channels; the weights are formed in the same way from |λ|.

Where paper and published code differ: the paper's w has no absolute value and its formulas leave out the product
with x; the code has both, and so has this module. The code detaches w. With `scale="mean"` the weights are
C times larger (mean 1 instead of 1/C), so that the gate leaves the neighbourhood of 0.5.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.attention.contract import Attention, narrow_batchnorm, widened
from namprune.attention.gate import BatchGate, Norm, batch_statistics, folded, gated

Part = Literal["channel", "spatial", "both"]
Scale = Literal["sum", "mean"]

SETTLED = 0.25
"""Factors of a gate in a network that is trained already. At 1, where fresh ones start, a trained MobileNetV3 lost 0.6
points of 70.1 as the gates went in; at 0.25 none, and the loss rose by 1e-4."""


def normalized_factors(factors: Tensor, *, scale: Scale = "sum") -> Tensor:
    """|v| / Σ|v|, or |v| / mean|v| for `scale="mean"`. (C,) -> (C,). All zeros give zeros, not NaN."""
    magnitude = factors.abs()
    total = magnitude.sum() if scale == "sum" else magnitude.mean()
    # Not the smallest number itself: 1 / total must not overflow, or an all-zero gradient becomes inf * 0.
    return magnitude / total.clamp_min(torch.finfo(magnitude.dtype).tiny ** 0.5)


class _Gate(nn.Module):
    """A product with the sigmoid of a BatchNorm's output, weighted by its own normalized factors.

    It is computed in at least float32: with w about 1/C the gate differs from 0.5 by less than a bf16 step.
    """

    def __init__(self, bn: nn.BatchNorm1d | nn.BatchNorm2d, *, scale: Scale, detach: bool) -> None:
        super().__init__()
        self.bn = bn
        self.scale: Scale = scale
        self.detach = detach

    @property
    def factors(self) -> nn.Parameter:
        """The scale factors themselves."""
        factors: nn.Parameter = self.bn.weight
        return factors

    def importance(self) -> Tensor:
        """w, the normalized factors."""
        weight = self.bn.weight.detach() if self.detach else self.bn.weight
        return normalized_factors(weight, scale=self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """x * sigmoid(w * BN(x)) for x normalized along dimension 1; the gate in at least float32."""
        bn, w = self.bn, self.importance()
        # w is folded into the affine part: one pass over x instead of two
        weight, bias = widened(w * bn.weight), widened(w * bn.bias)
        if self._is_composed(x):
            return self._composed(x, weight, bias)
        if bn.training:
            return self._by_batch(x, weight, bias)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, weight, bias)):
            return self._composed(x, weight, bias)
        return gated(x, self._folded(weight, bias))

    def affine(self) -> tuple[Tensor, Tensor]:
        """In eval mode the scores w * BN(x) are a x + b: a and b, (C,) each in at least float32."""
        w = self.importance()
        norm = self._folded(widened(w * self.bn.weight), widened(w * self.bn.bias))
        return norm.a, norm.b

    @torch.no_grad()
    def settle(self, mean: Tensor, var: Tensor) -> None:
        """Take inputs to have this mean and variance, (C,) each or one for all, until batches say otherwise."""
        self.bn.weight.fill_(SETTLED)
        for running, value in zip(self._running, (mean, var), strict=True):
            running.copy_(value)

    def _folded(self, weight: Tensor, bias: Tensor) -> Norm:
        mean, var = self._running
        return folded(weight, bias, mean=widened(mean), var=widened(var), eps=self.bn.eps)

    def _is_composed(self, x: Tensor) -> bool:
        """Whether PyTorch's own operations are wanted: its compiler and its transforms see through no others."""
        return (
            torch.compiler.is_compiling()
            or torch._C._are_functorch_transforms_active()  # noqa: SLF001 - as autograd.Function itself asks
            or x.device.type not in ("cpu", "cuda")
            or x.numel() == 0
            or self.bn.running_mean is None
        )

    def _by_batch(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        mean, var, count = batch_statistics(x)
        with torch.no_grad():
            for running, batch in zip(self._running, (mean, var * (count / (count - 1))), strict=True):
                running.lerp_(batch.to(running.dtype), self.bn.momentum or 0.0)
        y: Tensor = BatchGate.apply(x, weight, bias, mean, var, count, self.bn.eps)
        return y

    @property
    def _running(self) -> tuple[Tensor, Tensor]:
        mean, var = self.bn.running_mean, self.bn.running_var
        assert mean is not None  # noqa: S101 - it tracks
        assert var is not None  # noqa: S101
        return mean, var

    def _composed(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """In PyTorch's own operations: for its compiler, which fuses them, and where a graph of them is wanted."""
        bn, wide = self.bn, widened(x)
        own = [buffer for buffer in (bn.running_mean, bn.running_var) if buffer is not None]
        running = [widened(buffer) for buffer in own]  # themselves, but for those of a network in half precision
        mean, var = running or (None, None)
        momentum = bn.momentum or 0.0
        scores = F.batch_norm(wide, mean, var, weight, bias, training=bn.training, momentum=momentum, eps=bn.eps)
        for buffer, updated in zip(own, running, strict=True):
            if bn.training and buffer.dtype != updated.dtype:
                buffer.copy_(updated)
        return (wide * torch.sigmoid(scores)).to(x.dtype)


class NAMChannel(Attention):
    """Channel gate: y = x * sigmoid(w * BN(x)) with w = |γ| / Σ|γ|. A factor of zero gives a gate of 0.5."""

    def __init__(self, channels: int, *, scale: Scale = "sum", detach: bool = True) -> None:
        super().__init__()
        self.gate = _Gate(nn.BatchNorm2d(channels), scale=scale, detach=detach)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.gamma.numel()

    @property
    def gamma(self) -> nn.Parameter:
        """Scale factors γ, (C,)."""
        return self.gate.factors

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        y: Tensor = self.gate(x)
        return y

    def affine(self) -> tuple[Tensor, Tensor]:
        """a and b of the gate sigmoid(a x + b) that it is in eval mode, (C, 1, 1)."""
        a, b = self.gate.affine()
        return a[:, None, None], b[:, None, None]

    def settle(self, mean: Tensor, var: Tensor) -> None:
        """sigmoid(w γ x̂) with w = 1/C: 0.5, give or take `SETTLED` x̂ / 4C."""
        self.gate.settle(mean, var)

    @torch.no_grad()
    def prune(self, keep: Tensor) -> None:
        """Keep the channels `keep`.

        The normaliser Σ|γ| shrinks with the channels, which would change every kept gate. w does not change when
        all γ are multiplied by one number, so the kept γ and β take up the ratio of the normalisers instead.
        """
        bn = self.gate.bn
        before = self.gate.importance()[keep]
        narrow_batchnorm(bn, keep)
        after = self.gate.importance()
        # Equal for every channel but for rounding; where all kept factors are zero both gates are 0.5 anyway.
        ratio = before.sum() / after.sum() if after.sum() > 0 else before.new_ones(())
        bn.weight.mul_(ratio)
        bn.bias.mul_(ratio)

    def macs(self, x: Tensor) -> int:
        """The folded affine and the product with x: two per element."""
        return 2 * x.numel()


class NAMSpatial(Attention):
    """Pixel gate: the channel gate's formula with positions in the place of channels. Fixes height and width."""

    def __init__(self, channels: int, size: tuple[int, int], *, scale: Scale = "sum", detach: bool = True) -> None:
        super().__init__()
        height, width = size
        self.size = size
        self.gate = _Gate(nn.BatchNorm1d(height * width), scale=scale, detach=detach)
        # The gate has nothing per channel, so a buffer of no bytes carries the count through files and cuts.
        self.register_buffer("channel_marks", torch.zeros(channels, 0))
        self.channel_marks: Tensor

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.channel_marks)

    @property
    def lambda_(self) -> nn.Parameter:
        """Scale factors λ, (H * W,)."""
        return self.gate.factors

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W).

        Raises:
            ValueError: x has another height or width than the λ were made for.
        """
        n, c, h, w = x.shape
        if (h, w) != self.size:
            raise ValueError(
                f"spatial NAM was built for {self.size[0]}x{self.size[1]} feature maps and got {h}x{w}; "
                "build the model for this input size, or use the channel part alone"
            )
        if x.is_contiguous():
            rows: Tensor = self.gate(x.view(n * c, h * w))
            return rows.view_as(x)
        pixels = x.permute(0, 2, 3, 1)  # (N, H, W, C), without a copy where x is channels_last
        y: Tensor = self.gate(pixels.reshape(n, h * w, c))
        return y.view_as(pixels).permute(0, 3, 1, 2)

    def affine(self) -> tuple[Tensor, Tensor]:
        """a and b of the gate sigmoid(a x + b) that it is in eval mode, (H, W)."""
        a, b = self.gate.affine()
        return a.view(self.size), b.view(self.size)

    def settle(self, mean: Tensor, var: Tensor) -> None:
        """As the channel part, with 1 / (H W) in the place of 1/C: a position sees the mixture of all channels."""
        self.gate.settle(mean.mean(), var.mean() + mean.var(correction=0))

    def prune(self, keep: Tensor) -> None:
        """Keep the channels `keep`. λ belongs to positions: no factor goes with a channel."""
        self.channel_marks = self.channel_marks[keep]

    def macs(self, x: Tensor) -> int:
        """The folded affine and the product with x: two per element."""
        return 2 * x.numel()


class NAM(Attention):
    """Channel gate, then spatial gate (in CBAM's order, as the authors state), or one of them alone."""

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        part: Part = "channel",
        scale: Scale = "sum",
        detach: bool = True,
    ) -> None:
        super().__init__()
        self.channel = NAMChannel(channels, scale=scale, detach=detach) if part != "spatial" else None
        self.spatial = NAMSpatial(channels, size, scale=scale, detach=detach) if part != "channel" else None

    @property
    def parts(self) -> tuple[NAMChannel | NAMSpatial, ...]:
        """The gates in the order of their application."""
        return tuple(part for part in (self.channel, self.spatial) if part is not None)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.parts[0].channels

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        for part in self.parts:
            x = part.attend(x)
        return x

    @property
    def initial_gate(self) -> float:
        """Of the parts together."""
        return 0.5 ** len(self.parts)

    def settle(self, mean: Tensor, var: Tensor) -> None:
        """Of the parts, of which the second reads half of what the first does."""
        for index, part in enumerate(self.parts):
            part.settle(0.5**index * mean, 0.25**index * var)

    def prune(self, keep: Tensor) -> None:
        """Keep the channels `keep` in each part."""
        for part in self.parts:
            part.prune(keep)

    def macs(self, x: Tensor) -> int:
        """Of the parts together."""
        return sum(part.macs(x) for part in self.parts)
