"""Importance from gradients on training pictures: what the loss would do without a channel.

A channel is judged at its gates: γ and β of each BatchNorm of its group (Taylor-FO-BN; Gate Decorator,
https://arxiv.org/abs/1909.08174), or, where there is none, the filter and bias of each layer that makes it. With θ
the parameters of the channel in one such layer and g the gradient of the cross-entropy of a batch,

    taylor(c) = mean over batches of Σ_layers (Σ_θ g θ)²        Molchanov et al. (2019), arXiv 1906.10771
    obd(c)    = mean over batches of Σ_layers ½ Σ_θ (g θ)²      LeCun et al. (1990), the Hessian being the diagonal
                                                                of the Fisher information

The squares are those of a batch's mean gradient, not of each picture's: larger batches give smaller scores in both,
and the order of the channels is what counts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from namprune.data.images import Batch
from namprune.modes import modes_kept
from namprune.pruning.group import ChannelGroup, Member
from namprune.signals import poll

Products: TypeAlias = Mapping[nn.Parameter, Tensor]
"""g θ of one batch, element by element, for every parameter of a gate."""


def taylor_importance(group: ChannelGroup, products: Products) -> Tensor:
    """First order: the square of the change of the loss, to (size,)."""
    changes = [group.per_channel(gate, _rows(gate, products).sum(1), reduce="sum").square() for gate in _gates(group)]
    return torch.stack(changes).sum(0)


def obd_importance(group: ChannelGroup, products: Products) -> Tensor:
    """Second order: the rise of the loss from a minimum, to (size,)."""
    rises = [group.per_channel(gate, _rows(gate, products).square().sum(1) / 2, reduce="sum") for gate in _gates(group)]
    return torch.stack(rises).sum(0)


FROM_GRADIENTS: dict[str, Callable[[ChannelGroup, Products], Tensor]] = {
    "taylor": taylor_importance,
    "obd": obd_importance,
}
"""The criteria that need pictures."""


def mean_over_batches(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    importance: Callable[[ChannelGroup, Products], Tensor],
    batches: Iterable[Batch],
) -> list[Tensor]:
    """Scores of every group as the mean over batches, in float32 and eval mode. The network stays as it is.

    Raises:
        ValueError: there is no batch.
    """
    gates = {parameter for group in groups for gate in _gates(group) for parameter in _parameters(gate)}
    judged = {name: parameter for name, parameter in model.named_parameters() if parameter in gates}
    totals = [torch.zeros(group.size) for group in groups]
    seen = 0
    with modes_kept(model):
        model.eval()
        for seen, batch in enumerate(batches, start=1):  # noqa: B007 - counted
            poll()
            products = _products(model, judged, batch)
            for total, group in zip(totals, groups, strict=True):
                total += importance(group, products)
    if not seen:
        raise ValueError("there is no batch to take gradients from")
    return [total / seen for total in totals]


@torch.enable_grad()
def _products(model: nn.Module, judged: Mapping[str, nn.Parameter], batch: Batch) -> Products:
    """Through stand-ins for the parameters: neither their gradients nor whether they are frozen is touched."""
    x, y = batch
    values = {name: parameter.detach().requires_grad_() for name, parameter in judged.items()}
    loss = F.cross_entropy(functional_call(model, values, (x,)).float(), y)
    gradients = torch.autograd.grad(loss, list(values.values()), materialize_grads=True)
    return {
        parameter: gradient * parameter.detach() for parameter, gradient in zip(judged.values(), gradients, strict=True)
    }


def _gates(group: ChannelGroup) -> tuple[Member, ...]:
    return group.norms or group.makers


def _parameters(gate: Member) -> tuple[nn.Parameter, ...]:
    return tuple(gate.module.parameters(recurse=False))


def _rows(gate: Member, products: Products) -> Tensor:
    """One row for each output of the layer. (outputs, parameters of an output)."""
    return torch.cat([products[parameter].reshape(len(parameter), -1) for parameter in _parameters(gate)], dim=1)
