"""What the networks share: where attention goes, how sizes shrink, how weights start."""

from dataclasses import dataclass

from torch import nn

from namprune.attention import AttentionFactory
from namprune.choices import Placement

Size = tuple[int, int]
"""Height and width of a feature map."""


@dataclass(frozen=True)
class AttentionPlan:
    """Which attention a network gets, and where."""

    factory: AttentionFactory | None = None
    placement: Placement = "block"

    def at(self, spot: Placement, channels: int, size: Size) -> nn.Module:
        """The module for one spot: attention where the placement asks for it, else the identity."""
        wanted = ("block", "interior") if self.placement == "both" else (self.placement,)
        if self.factory is None or spot not in wanted:
            return nn.Identity()
        return self.factory(channels, size)

    @property
    def replaces(self) -> bool:
        """Whether attention stands in the place of whole blocks."""
        return self.factory is not None and self.placement == "replace"


def strided(size: Size, stride: int) -> Size:
    """Size after a same-padded layer of the given stride."""
    return (-(-size[0] // stride), -(-size[1] // stride))


def scaled_width(channels: int, width: float) -> int:
    """`channels * width`, rounded to a multiple of 8, never under 8 and never more than 10 % below.

    The rounding of MobileNetV2 (https://arxiv.org/abs/1801.04381); a width of 1 changes nothing.
    """
    if width == 1.0:
        return channels
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded


def initialise(model: nn.Module) -> None:
    """Kaiming normal, fan out, for convolutions (https://arxiv.org/abs/1502.01852); N(0, 0.01) for the classifier."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
