"""Importance from scale factors: how large NAM and BatchNorm make a channel, and how much of it is read.

With n(v) = |v| / mean|v| per layer (C times the |v| / Σ|v| of NAM, so that layers of different width can be ranked
together),

    bn(c)  = max over the group's BatchNorms b of n(γ_b)(c)
    nam(c) = max over the group's BatchNorms b of n(γ_b)(c) * m(γ_nam of the attention that b feeds)(c)
             * max over the layers r that read the group of n(‖w_r(·, c)‖)

The maximum, because a channel of a residual stream is needed as soon as one block needs it, or reads it: the factors
say how large a channel is made, the norm of the weights that read it how much of it arrives (docs/signal.md has what
each is worth).

Zero means another thing in the two factors: a channel with γ_b = 0 is a constant, a gate with γ_nam = 0 is 0.5. So
where a whole BatchNorm is at zero its channels rank low, and where a whole NAM is at zero it says nothing:
m(v) = (|v| + FLAT) / (mean|v| + FLAT) is n(v) for live factors and goes to 1 for dead ones. NAM dies easily: the
task's gradient on its factors is about 1/C of that on a BatchNorm's, so the same penalty takes them all to zero.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from namprune.attention import NAM
from namprune.pruning.group import ChannelGroup, Member
from namprune.sparsity import NEAR_ZERO

FLAT = 0.01
"""A layer whose mean |γ| is below this (factors start at 1) is dead; its noise must not be blown up to mean 1."""


def normalized(values: Tensor) -> Tensor:
    """n(v) = |v| / mean|v|, with the mean at least `FLAT`. (C,) -> (C,)."""
    magnitude = values.detach().abs().float()
    return magnitude / magnitude.mean().clamp_min(FLAT)


def gate_share(values: Tensor) -> Tensor:
    """m(v) = (|v| + FLAT) / (mean|v| + FLAT): what NAM's factors say, or 1 where they are all dead. (C,) -> (C,)."""
    magnitude = values.detach().abs().float() + FLAT
    return magnitude / magnitude.mean()


def nam_importance(group: ChannelGroup) -> Tensor | None:
    """The factors of each BatchNorm, times NAM's where one follows, times the norm of the weights that read them."""
    gates = {member.fed_by: member for member in group.attentions}
    blocks = []
    for norm in group.norms:
        score = group.per_channel(norm, normalized(_gamma(norm)))
        gate = gates.get(norm.name)
        if gate is not None and isinstance(gate.module, NAM) and gate.module.channel is not None:
            score = score * group.per_channel(gate, gate_share(gate.module.channel.gamma))
        blocks.append(score)
    if not blocks:
        return None
    made, read = torch.stack(blocks).amax(0), _readers(group)
    return made * torch.stack(read).amax(0) if read else made


def bn_importance(group: ChannelGroup) -> Tensor | None:
    """Plain BatchNorm factors, as Network Slimming (https://arxiv.org/abs/1708.06519), per layer normalized."""
    blocks = [group.per_channel(norm, normalized(_gamma(norm))) for norm in group.norms]
    return torch.stack(blocks).amax(0) if blocks else None


def near_zero(groups: Sequence[ChannelGroup]) -> list[Tensor]:
    """Per group, (size,) booleans: every BatchNorm factor of the channel is below 1 % of the network's largest.

    What can go almost for free: where they are far fewer than are to go, sparsity training was too weak.
    """
    largest = [largest_factor(group) for group in groups]
    threshold = NEAR_ZERO * max((float(one.max()) for one in largest if one is not None), default=0.0)
    return [
        torch.zeros(group.size, dtype=torch.bool) if one is None else one <= threshold
        for group, one in zip(groups, largest, strict=True)
    ]


def largest_factor(group: ChannelGroup) -> Tensor | None:
    """The largest |γ| of a channel over the group's BatchNorms, and over what it goes with; None without any."""
    factors = [group.per_channel(norm, _gamma(norm).detach().abs()) for norm in group.norms]
    return group.per_unit(torch.stack(factors).amax(0), reduce="amax") if factors else None


def _readers(group: ChannelGroup) -> list[Tensor]:
    """Per layer that reads the group, n of the norms of the weights on each channel, (size,)."""
    norms = []
    for member in group.readers:
        weight = member.module.weight
        assert isinstance(weight, Tensor)  # noqa: S101 - of a convolution or linear layer
        squares = weight.detach().float().transpose(0, 1).flatten(1).square().sum(1)  # (inputs,)
        norms.append(normalized(group.per_channel(member, squares, reduce="sum").sqrt()))
    return norms


def _gamma(norm: Member) -> Tensor:
    weight = norm.module.weight
    assert isinstance(weight, nn.Parameter)  # noqa: S101 - `norms` are affine
    return weight
