"""Mean compensation: what the channels that go delivered on average, folded into the layers that read them.

A layer that loses the input channels R loses, on average over pictures and pixels,

    shift = Σ_{c in R} mean_c * Σ_{i,j} W[:, c, i, j]

of each output. Its bias takes that up, or the running mean of the BatchNorm behind it, from which it is subtracted: in
eval mode that is the same. A channel that is constant costs nothing then. Two things are not made up for: at a border
that is padded with zeros less was lost, and the gate of an attention may have drawn on the channels. Re-estimating the
statistics (`recalibrate`) overwrites the running means, and so all of this but for the biases.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn

from namprune.modes import modes_kept
from namprune.pruning.graph import ChannelGraph
from namprune.pruning.plan import PruningPlan
from namprune.signals import poll


@torch.no_grad()
def compensate(
    graph: ChannelGraph, plan: PruningPlan, batches: Iterable[tuple[Tensor, Tensor]], *, limit: int
) -> tuple[str, ...]:
    """Shift the readers of the channels that go, in place, and return those that have nowhere to put it.

    Call it before `PruningPlan.apply`, while the weights that go are there: the cut carries the shifted values over,
    and its proof holds as of any other network. The means are those over `limit` batches.
    """
    losses = list(_losses(graph, plan))
    means = input_means(graph.model, {name for name, _ in losses}, batches, limit=limit)
    left: dict[str, None] = {}
    for name, lost in losses:
        layer = graph.model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)  # noqa: S101 - what reads and can be cut
        lost = lost.to(layer.weight.device)
        weight = layer.weight[:, lost]
        shift = weight.reshape(*weight.shape[:2], -1).sum(2) @ means[name][lost]  # (C_out,)
        norm = graph.norm_behind(name)
        if layer.bias is not None:
            layer.bias += shift
        elif norm is not None and norm.running_mean is not None:
            norm.running_mean -= shift
        else:
            left[name] = None
    return tuple(left)


@torch.no_grad()
def input_means(
    model: nn.Module, layers: Iterable[str], batches: Iterable[tuple[Tensor, Tensor]], *, limit: int
) -> dict[str, Tensor]:
    """Mean of each input channel of convolutions and linear layers, (C_in,) by name, in eval mode.

    Averages over `limit` batches, which are forwarded in full precision; the network is left as it was.
    """
    taken: dict[str, list[Tensor]] = {name: [] for name in layers}
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(partial(_take, means)) for name, means in taken.items()
    ]
    try:
        with modes_kept(model):
            model.eval()
            for x, _ in islice(batches, limit):
                poll()
                model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.stack(means).mean(0) for name, means in taken.items()}


def _take(means: list[Tensor], layer: nn.Module, inputs: tuple[Tensor]) -> None:
    """A forward pre-hook: appends the mean of each channel of the layer's input."""
    channel = 1 if isinstance(layer, nn.Conv2d) else -1
    means.append(inputs[0].movedim(channel, 0).flatten(1).mean(1))


def _losses(graph: ChannelGraph, plan: PruningPlan) -> Iterator[tuple[str, Tensor]]:
    """Each layer that reads channels that go, and the positions of these among its inputs."""
    groups = {group.root: group for group in graph.groups}
    for cut in plan.groups:
        goes = torch.zeros(cut.before, dtype=torch.bool)
        goes[list(cut.removed)] = True
        for member in groups[cut.root].members:
            if member.side == "in" and goes.any():
                yield member.name, member.positions[goes[member.channels]]
