"""How much a channel matters: each criterion maps a group to one score per channel, higher = keep."""

import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from namprune.choices import CriterionName
from namprune.data.images import Batch
from namprune.errors import PruneError
from namprune.pruning.factors import bn_importance, nam_importance
from namprune.pruning.filters import fpgm_importance, lamp_importance, norm_importance
from namprune.pruning.gradients import FROM_GRADIENTS, mean_over_batches
from namprune.pruning.graph import ChannelGraph
from namprune.pruning.group import ChannelGroup

Importance: TypeAlias = Callable[[ChannelGroup], Tensor | None]
"""Group -> (size,) scores; None where the criterion finds nothing to judge by, and the group stays."""

Criterion: TypeAlias = CriterionName | Importance
"""One of ours by its name, or one of the user's own."""


def random_importance(group: ChannelGroup, *, seed: int) -> Tensor:
    """Uniform scores that depend on the seed and the group's name alone."""
    # The generator reads 32 bits of what it is seeded with, so seed and name must both be in them.
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {group.root}".encode()))
    scores = torch.rand(group.size // group.unit, generator=generator)
    return scores if group.units is None else scores[group.units]


IMPORTANCES: dict[str, Callable[..., Tensor | None]] = {
    "nam": nam_importance,
    "bn": bn_importance,
    "l1": partial(norm_importance, p=1),
    "l2": partial(norm_importance, p=2),
    "fpgm": fpgm_importance,
    "lamp": lamp_importance,
    **FROM_GRADIENTS,
    "random": random_importance,
}
"""Each takes the group; `random` a seed, too, and those in `FROM_GRADIENTS` the products of a batch."""


def needs_batches(criterion: Criterion) -> bool:
    """Whether the criterion looks at pictures."""
    return isinstance(criterion, str) and criterion in FROM_GRADIENTS


def criterion_name(criterion: Criterion) -> str:
    """What a plan calls the criterion: a function of the user's own by its `__name__`."""
    return criterion if isinstance(criterion, str) else getattr(criterion, "__name__", type(criterion).__name__)


def score_groups(
    graph: ChannelGraph, criterion: Criterion, *, batches: Iterable[Batch] | None = None, seed: int = 0
) -> list[Tensor | None]:
    """The scores of every group of a network; `seed` is for `random`, `batches` for what `needs_batches`.

    Raises:
        ValueError: the criterion needs batches and there are none, or does not give one score per channel.
        PruneError: a score is not a number.
    """
    if not needs_batches(criterion):
        importance = build_importance(criterion, seed=seed)
        scores = [importance(group) for group in graph.groups]
    elif batches is None:
        raise ValueError(f"criterion {criterion} needs batches")
    else:
        of_a_batch = FROM_GRADIENTS[criterion_name(criterion)]
        scores = [*mean_over_batches(graph.model, graph.groups, of_a_batch, batches)]
    name = criterion_name(criterion)
    return [_checked(score, group, name) for group, score in zip(graph.groups, scores, strict=True)]


def build_importance(criterion: Criterion, *, seed: int = 0) -> Importance:
    """The criterion as a function of a group alone; the seed is for `random`."""
    if not isinstance(criterion, str):
        return criterion
    importance = IMPORTANCES[criterion]
    return partial(importance, seed=seed) if criterion == "random" else importance


def _checked(score: Tensor | None, group: ChannelGroup, name: str) -> Tensor | None:
    """On the CPU, where channels are counted."""
    if score is None:
        return None
    if score.shape != (group.size,):
        raise ValueError(f"criterion {name} gives scores of shape {tuple(score.shape)} for {group.size} channels")
    if score.isnan().any():
        raise PruneError(
            f"prune.criterion: {name} gives scores for {group.root} that are not numbers",
            hint="look for parameters of the network that are not finite",
        )
    return group.per_unit(score.detach().cpu())
