"""Takes channels out of the layers that carry them, all at once: what is where is known of the uncut network alone."""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.attention import Attention
from namprune.attention.contract import kept
from namprune.errors import PruneError
from namprune.pruning.group import Cuts
from namprune.pruning.layers import Side, block, width


def remove(model: nn.Module, cuts: Cuts) -> None:
    """Keep only these channels of a network, in place. The layers are found by their names in the groups.

    Parameters that lose something are new objects, as frozen as the old ones: an optimizer built before holds stale
    ones.

    Raises:
        PruneError: channels that only go at once are torn apart.
    """
    stays: dict[tuple[str, Side], Tensor] = {}
    for group, keep in cuts:
        goes = torch.ones(group.size, dtype=torch.bool)
        goes[keep] = False
        if not torch.equal(group.per_unit(goes.float()), goes.float()):
            raise PruneError(f"{group.root}: its channels only go {group.unit} at once, and this cut tears some apart")
        for member in group.members:
            side = member.name, member.side
            mask = stays.setdefault(side, torch.ones(width(member.module, member.side), dtype=torch.bool))
            mask[member.positions[goes[member.channels]]] = False
    for (name, end), mask in stays.items():
        if not mask.all():
            _narrow(model.get_submodule(name), end, mask.nonzero().flatten())


@torch.no_grad()
def _narrow(layer: nn.Module, side: Side, keep: Tensor) -> None:
    if isinstance(layer, Attention):
        layer.prune(keep.to(next(chain(layer.parameters(), layer.buffers())).device))
        return
    size, dim = block(layer), int(side == "in")
    for name, parameter in [*layer.named_parameters(recurse=False)]:
        if parameter.ndim > dim:  # a bias has no inputs
            setattr(layer, name, kept(parameter, keep.to(parameter.device), dim=dim))
    for name, buffer in [*layer.named_buffers(recurse=False)]:
        if buffer.ndim:  # a number of batches has no channels
            setattr(layer, name, buffer[keep.to(buffer.device)])
    if isinstance(layer, nn.Conv2d):
        layer.out_channels = len(layer.weight)
        layer.groups = layer.out_channels // size if size else layer.groups
        layer.in_channels = layer.weight.shape[1] * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, _BatchNorm):
        layer.num_features = len(keep)
