"""The layers that can be cut, and how their inputs and outputs belong together."""

from typing import Literal, TypeAlias

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.attention import Attention

Side: TypeAlias = Literal["out", "in", "both"]
"""Of a layer. Both: its inputs and outputs are the same channels, as those of norms and depthwise convolutions are."""


def is_known(module: nn.Module) -> bool:
    """Whether a layer can be cut: its tensors are known, and its inputs are not tied to its outputs in another way."""
    if isinstance(module, nn.Conv2d | nn.Linear | _BatchNorm):
        plain = {name for name, _ in module.named_parameters()} <= {"weight", "bias"}
        return plain and (not isinstance(module, nn.Conv2d) or module.groups == 1 or block(module) > 0)
    return isinstance(module, Attention)


def block(module: nn.Module) -> int:
    """How many outputs a group of a grouped convolution has, if it has as many inputs: they go together. Else 0."""
    if not isinstance(module, nn.Conv2d) or module.groups == 1 or module.in_channels != module.out_channels:
        return 0
    return module.out_channels // module.groups


def goes_both_ways(module: nn.Module) -> bool:
    """Whether inputs and outputs of a known layer are the same channels."""
    return not isinstance(module, nn.Conv2d | nn.Linear) or block(module) > 0


def width(module: nn.Module, side: Side) -> int:
    """How many channels a known layer has on a side."""
    if isinstance(module, nn.Linear):
        return module.in_features if side == "in" else module.out_features
    if isinstance(module, nn.Conv2d):
        return module.in_channels if side == "in" else module.out_channels
    assert isinstance(module, _BatchNorm | Attention)  # noqa: S101 - the others that are known
    return module.num_features if isinstance(module, _BatchNorm) else module.channels
