"""What every attention module is: a gate that keeps shape, dtype and memory format, and can lose channels."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from torch import Tensor, nn

AttentionFactory: TypeAlias = Callable[[int, tuple[int, int]], "Attention"]
"""(channels, (height, width)) -> module, called by a model wherever it places attention."""


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

    @abstractmethod
    def macs(self, x: Tensor) -> int:
        """Multiply-accumulates of one call on `x`, element-wise products included."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        # A product, not x itself: the tracer needs an autograd node of this module's own.
        return x * 1.0 if Attention._opaque else self.attend(x)


@contextmanager
def opaque() -> Iterator[None]:
    """Within it every attention is one element-wise operation, for tracing dependencies."""
    Attention._opaque = True  # noqa: SLF001 - the class's own switch
    try:
        yield
    finally:
        Attention._opaque = False  # noqa: SLF001
