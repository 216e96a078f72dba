"""How much a channel matters: each criterion maps a group to one score per channel, higher = keep.

The scale-factor criteria take, with n(v) = |v| / mean|v| per layer (C times the |v| / Σ|v| of NAM, so that layers
of different width can be ranked together),

    bn(c)  = max over the group's BatchNorms b of n(γ_b)(c)
    nam(c) = max over the group's BatchNorms b of n(γ_b)(c) * m(γ_nam of the attention that b feeds)(c)

The maximum, because a channel of a residual stream is needed as soon as one block needs it. Zero means another thing
in the two: a channel with γ_b = 0 is a constant, a gate with γ_nam = 0 is 0.5. So where a whole BatchNorm is at zero
its channels rank low, and where a whole NAM is at zero it says nothing: m(v) = (|v| + FLAT) / (mean|v| + FLAT) is
n(v) for live factors and goes to 1 for dead ones. NAM dies easily: the task's gradient on its factors is about 1/C
of that on a BatchNorm's, so one and the same penalty takes them all to zero.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from namprune.attention import NAM
from namprune.choices import CriterionName
from namprune.pruning.graph import ChannelGroup, Member
from namprune.sparsity import NEAR_ZERO

Importance: TypeAlias = Callable[[ChannelGroup], Tensor | None]
"""Group -> (size,) scores; None where the criterion finds nothing to judge by, and the group stays."""

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
    """NAM's factors times those of the BatchNorm before them; the latter alone where there is no NAM."""
    gates = {member.fed_by: member for member in group.attentions}
    blocks = []
    for norm in group.norms:
        score = _over_channels(norm, normalized(_gamma(norm)), group.size)
        gate = gates.get(norm.name)
        if gate is not None and isinstance(gate.module, NAM) and gate.module.channel is not None:
            score = score * _over_channels(gate, gate_share(gate.module.channel.gamma), group.size)
        blocks.append(score)
    return torch.stack(blocks).amax(0) if blocks else None


def bn_importance(group: ChannelGroup) -> Tensor | None:
    """Plain BatchNorm factors, as Network Slimming (https://arxiv.org/abs/1708.06519), per layer normalized."""
    blocks = [_over_channels(norm, normalized(_gamma(norm)), group.size) for norm in group.norms]
    return torch.stack(blocks).amax(0) if blocks else None


def norm_importance(group: ChannelGroup, *, p: int) -> Tensor:
    """Mean over the group's layers of the per-layer normalized L_p norm of each channel's filter."""
    scores = []
    for maker in group.makers:
        weight = maker.module.weight
        assert isinstance(weight, Tensor)  # noqa: S101 - makers are convolutions and linear layers
        norms = weight.detach().float().flatten(1).norm(p=p, dim=1)
        scores.append(_over_channels(maker, norms / norms.mean().clamp_min(torch.finfo(norms.dtype).tiny), group.size))
    return torch.stack(scores).mean(0)


def random_importance(group: ChannelGroup, *, seed: int) -> Tensor:
    """Uniform scores that depend on the seed and the group's name alone."""
    # The generator reads 32 bits of what it is seeded with, so seed and name must both be in them.
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {group.root}".encode()))
    return torch.rand(group.size, generator=generator)


IMPORTANCES: dict[str, Callable[..., Tensor | None]] = {
    "nam": nam_importance,
    "bn": bn_importance,
    "l1": partial(norm_importance, p=1),
    "l2": partial(norm_importance, p=2),
    "random": random_importance,
}


def build_importance(name: CriterionName, *, seed: int = 0) -> Importance:
    """The criterion of that name; the seed is for `random`."""
    criterion = IMPORTANCES[name]
    return partial(criterion, seed=seed) if name == "random" else criterion


def near_zero(groups: Sequence[ChannelGroup]) -> list[Tensor]:
    """Per group, (size,) booleans: every BatchNorm factor of the channel is below 1 % of the network's largest.

    What can go almost for free: where they are far fewer than are to go, sparsity training was too weak.
    """
    gammas = {norm.name: _gamma(norm).detach().abs() for group in groups for norm in group.norms}
    threshold = NEAR_ZERO * max((float(gamma.max()) for gamma in gammas.values()), default=0.0)
    dead = []
    for group in groups:
        magnitudes = [_over_channels(norm, gammas[norm.name], group.size) for norm in group.norms]
        largest = torch.stack(magnitudes).amax(0) if magnitudes else torch.full((group.size,), math.inf)
        dead.append(largest <= threshold)
    return dead


def _gamma(norm: Member) -> Tensor:
    weight = norm.module.weight
    assert isinstance(weight, nn.Parameter)  # noqa: S101 - `norms` are affine
    return weight


def _over_channels(member: Member, values: Tensor, size: int) -> Tensor:
    """Values along the member's side as values of the group's channels: the largest where there are several."""
    picked = values.cpu()[member.positions]
    return torch.zeros(size).scatter_reduce(0, member.channels, picked.float(), "amax", include_self=True)
