"""Importance from filters: how large, or how far from the others of its layer, the weights are that make a channel.

A filter is a row of a layer that makes the channels, flattened. Each layer of a group scores its own filters, and a
channel has the mean of its scores over the layers. `l1`, `l2` and `fpgm` are divided by their mean over the layer,
so that layers of different size can be ranked together; `lamp` is taken as published, and falls with the number of
filters that are larger: a global ranking takes most from wide layers.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from namprune.pruning.group import ChannelGroup


def norm_importance(group: ChannelGroup, *, p: int) -> Tensor:
    """L_p norm of the filter, per layer normalized."""
    return _mean_over_makers(group, lambda filters: _normalized(filters.norm(p=p, dim=1)))


def fpgm_importance(group: ChannelGroup) -> Tensor:
    """Sum of the distances to the layer's other filters, per layer normalized: those near the geometric median go.

    He et al. (2019), https://arxiv.org/abs/1811.00250: what such a filter does, the others can do.
    """
    # The fast way, by a matrix product, blurs just the small distances.
    mode = "donot_use_mm_for_euclid_dist"
    return _mean_over_makers(
        group, lambda filters: _normalized(torch.cdist(filters, filters, compute_mode=mode).sum(1))
    )


def lamp_importance(group: ChannelGroup) -> Tensor:
    """‖filter‖² / Σ of the ‖filter‖² of its layer that are not smaller: 1 for the largest of each layer.

    The score of Lee et al. (2021), https://arxiv.org/abs/2010.07611, with filters in the place of weights.
    """
    return _mean_over_makers(group, _lamp)


def _mean_over_makers(group: ChannelGroup, score: Callable[[Tensor], Tensor]) -> Tensor:
    """`score` is (filters, weights of each) -> (filters,)."""
    scores = []
    for maker in group.makers:
        weight = maker.module.weight
        assert isinstance(weight, Tensor)  # noqa: S101 - makers are convolutions and linear layers
        scores.append(group.per_channel(maker, score(weight.detach().float().flatten(1))))
    return torch.stack(scores).mean(0)


def _normalized(scores: Tensor) -> Tensor:
    return scores / scores.mean().clamp_min(torch.finfo(scores.dtype).tiny)


def _lamp(filters: Tensor) -> Tensor:
    energy = filters.cpu().double().square().sum(1)  # Apple's GPUs have no float64
    ascending = energy.sort().values
    not_smaller = ascending.flip(0).cumsum(0).flip(0)[torch.searchsorted(ascending, energy)]
    return energy / not_smaller.clamp_min(torch.finfo(energy.dtype).tiny)
