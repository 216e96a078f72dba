"""Channels at zero must arrive as zeros: behind an activation that is not 0 at 0, such as a sigmoid, they do not."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from namprune.modes import modes_kept
from namprune.pruning.group import ChannelGroup


@torch.no_grad()
def heard(model: nn.Module, groups: Sequence[ChannelGroup], input_shape: tuple[int, int, int]) -> dict[str, str]:
    """The groups, by root, of which something is read while all their channels are at zero, and what reads it."""
    found: dict[str, str] = {}
    hooks = [
        member.module.register_forward_pre_hook(partial(_listen, found, group.root, member.name, member.positions))
        for group in groups
        for member in group.readers
    ]
    parameter = next(model.parameters())
    pictures = torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype)
    try:
        with modes_kept(model):
            functional_call(model.eval(), _silenced(groups), pictures)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _silenced(groups: Sequence[ChannelGroup]) -> dict[str, Tensor]:
    """Parameters that make every channel of the groups zero, by name."""
    values: dict[str, Tensor] = {}
    for group in groups:
        for member, rows in group.rows(torch.ones(group.size, dtype=torch.bool)):
            for key, parameter in member.module.named_parameters(recurse=False):
                name = f"{member.name}.{key}"
                if len(rows) == len(parameter):
                    values[name] = parameter.new_zeros(()).expand_as(parameter)  # takes no memory
                else:
                    value = values.setdefault(name, parameter.detach().clone())
                    value[rows.to(value.device)] = 0
    return values


def _listen(
    found: dict[str, str], root: str, name: str, positions: Tensor, layer: nn.Module, inputs: tuple[Tensor]
) -> None:
    """A forward pre-hook."""
    channels = inputs[0].movedim(1 if isinstance(layer, nn.Conv2d) else -1, 0)
    if root not in found and channels[positions.to(channels.device)].any():
        found[root] = f"{name} reads no zeros where its channels are zero: an activation is not 0 at 0"
