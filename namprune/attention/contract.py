"""What every attention module is: a gate that keeps shape, dtype and memory format, and can lose channels."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

AttentionFactory: TypeAlias = Callable[[int, tuple[int, int]], "Attention"]
"""(channels, (height, width)) -> module, called by a model wherever it places attention."""


LEAST_HIDDEN = 4
"""The least width of a bottleneck: C // 16 would be one unit, or none, in a narrow layer."""


class Attention(nn.Module, ABC):
    """A module `x -> gate(x) * x`.

    While a dependency graph is traced it stands as one element-wise node (see `opaque`), because what happens
    inside a gate (pooling, reshapes, one-channel maps) misleads a tracer; removal goes through `prune`.
    """

    _opaque = False

    @property
    @abstractmethod
    def channels(self) -> int:
        """Number of channels, read from a tensor of the module."""

    @abstractmethod
    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), the gated input."""

    @abstractmethod
    def prune(self, keep: Tensor) -> None:
        """Keep the channels with the indices `keep` (int64, ascending) and drop the rest, in place.

        The output for the kept channels stays what it was with the others at zero.
        """

    def mask(self, keep: Tensor) -> None:
        """At full width, with the other channels at zero, compute for those in `keep` what `prune` will.

        Only a module that cannot ignore a zero has anything to do: CBAM's maximum over the channels.
        """

    @abstractmethod
    def macs(self, x: Tensor) -> int:
        """Multiply-accumulates of one call on `x`, element-wise products included."""

    @property
    def initial_gate(self) -> float:
        """What a settled module multiplies with: exactly, but for NAM, where it is so up to O(1/C)."""
        return 0.5

    def settle(self, mean: Tensor, var: Tensor) -> None:
        """Begin as near to the constant gate `initial_gate` as still can learn, for inputs with this mean and variance.

        Both (C,). For a place in a network that is trained already; elsewhere the random start is the authors'.
        """

    def bottlenecks(self) -> dict[str, "Bottleneck"]:
        """Its hidden dimensions by name: those that can shrink with the channels."""
        return {}

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        # A product, not x itself: the tracer needs an autograd node of this module's own.
        return x * 1.0 if Attention._opaque else self.attend(x)


@dataclass(frozen=True)
class Bottleneck:
    """One hidden dimension inside an attention: maker -> (norm) -> ReLU -> reader."""

    maker: nn.Linear | nn.Conv2d
    """Its outputs are the hidden units."""
    reader: nn.Linear | nn.Conv2d
    """Its inputs are the hidden units."""
    norm: nn.BatchNorm1d | nn.BatchNorm2d | None = None

    @property
    def units(self) -> int:
        """Number of hidden units."""
        return len(self.maker.weight)

    @torch.no_grad()
    def scores(self) -> Tensor:
        """How much each unit matters, (units,): ‖row of the maker‖ * ‖column of the reader‖, with |γ| of the norm in
        the place of the row where there is one.

        A unit's scale may move from its row to its column, and a norm takes that of the row away altogether: what is
        computed stays the same, and so does the score.
        """
        size = self.maker.weight.flatten(1).norm(dim=1) if self.norm is None else self.norm.weight.abs()
        scores: Tensor = size * self.reader.weight.transpose(0, 1).flatten(1).norm(dim=1)
        return scores

    def narrow(self, keep: Tensor) -> None:
        """Keep the units with the indices `keep` (int64, ascending) and drop the rest, in place."""
        narrow_linear(self.maker, outputs=keep)
        narrow_linear(self.reader, inputs=keep)
        if self.norm is not None:
            narrow_batchnorm(self.norm, keep)

    @torch.no_grad()
    def mask(self, keep: Tensor) -> None:
        """At full width, make every other unit zero: what `narrow` computes without it."""
        goes = torch.ones(self.units, dtype=torch.bool, device=keep.device)
        goes[keep] = False
        for parameter in (self.maker if self.norm is None else self.norm).parameters():
            parameter[goes] = 0  # rows of a weight, entries of a bias, or γ and β


def widened(x: Tensor) -> Tensor:
    """`x` in at least float32, for a gate that bf16 steps would blur."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@torch.no_grad()
def zero(layer: nn.Linear | nn.Conv2d | nn.Conv1d) -> None:
    """Make weights and biases of a layer zero, so that it gives zeros and still learns."""
    for parameter in layer.parameters():
        parameter.zero_()


@torch.no_grad()
def narrow_linear(layer: nn.Linear | nn.Conv2d, *, inputs: Tensor | None = None, outputs: Tensor | None = None) -> None:
    """Keep the given inputs and outputs of a linear layer or an ungrouped convolution, in place."""
    if inputs is not None:
        layer.weight = kept(layer.weight, inputs, dim=1)
    if outputs is not None:
        layer.weight = kept(layer.weight, outputs)
        if layer.bias is not None:
            layer.bias = kept(layer.bias, outputs)
    width_out, width_in = layer.weight.shape[:2]
    if isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = width_in, width_out
    else:
        layer.in_channels, layer.out_channels = width_in, width_out


@torch.no_grad()
def narrow_batchnorm(layer: nn.BatchNorm1d | nn.BatchNorm2d, keep: Tensor) -> None:
    """Keep the given channels of a BatchNorm, in place."""
    layer.weight, layer.bias = kept(layer.weight, keep), kept(layer.bias, keep)
    assert layer.running_mean is not None  # noqa: S101 - it tracks
    assert layer.running_var is not None  # noqa: S101
    layer.running_mean, layer.running_var = layer.running_mean[keep].clone(), layer.running_var[keep].clone()
    layer.num_features = keep.numel()


def kept(parameter: Tensor, keep: Tensor, *, dim: int = 0) -> nn.Parameter:
    """A new parameter with the entries `keep` along `dim`, as frozen as the old one."""
    return nn.Parameter(parameter.index_select(dim, keep), requires_grad=parameter.requires_grad)


@contextmanager
def opaque() -> Iterator[None]:
    """Within it every attention is one element-wise operation, for tracing dependencies."""
    Attention._opaque = True  # noqa: SLF001 - the class's own switch
    try:
        yield
    finally:
        Attention._opaque = False  # noqa: SLF001
