"""The contract of a tracker: what it is told of a run."""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from torch import Tensor

Setting: TypeAlias = str | float | int | bool


class Tracker(Protocol):
    """What is told of one run. A step is the number of epochs that are done."""

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """Numbers by their names, in which a slash parts groups."""
        ...

    def histogram(self, name: str, values: Tensor, *, step: int) -> None:
        """A distribution of float32 values on the CPU, at least one."""
        ...

    def pictures(self, name: str, images: Tensor, *, step: int) -> None:
        """Pictures, uint8 (N, C, H, W) on the CPU."""
        ...

    def outcome(self, settings: Mapping[str, Setting], metrics: Mapping[str, float]) -> None:
        """Of a finished run: what it was made with, and what it came to."""
        ...

    def close(self) -> None:
        """Nothing more is told: the run is finished, if its outcome was, or else interrupted. Again it does nothing."""
        ...
