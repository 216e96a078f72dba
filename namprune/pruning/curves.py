"""Measure how much accuracy goes when one group of channels alone is cut."""

from collections.abc import Callable, Sequence

from torch import Tensor

from namprune.pruning.allocate import allocate
from namprune.pruning.cost import Cost
from namprune.pruning.group import ChannelGroup, Cuts
from namprune.pruning.ranking import Ranking
from namprune.pruning.sensitivity import RATIOS, Curve, Sensitivity
from namprune.signals import poll


def measure_sensitivity(
    ranking: Ranking,
    *,
    top1: Callable[[Cuts], float],
    images: int,
    criterion: str,
    recalibrated: int,
    ratios: Sequence[float] = RATIOS,
) -> Sensitivity:
    """Cut each group to each ratio in (0, 1), by its ranking and down to one channel at most.

    `top1` gives the share of right answers, among `images` pictures, that a cut leaves (`cut_accuracy`); it is asked
    once for no cut at all. `criterion` and `recalibrated` say what the ranking is by and how `top1` treats a cut.
    """
    ratios = tuple(sorted(set(ratios)))
    before = top1(())

    def lost(group: ChannelGroup, keep: Tensor) -> float:
        poll()
        now = before if len(keep) == group.size else top1([(group, keep)])
        return 100 * round((before - now) * images) / images  # whole pictures

    def curve(group: ChannelGroup, score: Tensor) -> Curve:
        kept = [allocate([score], ratio=ratio, scope="local", floor=0.0, units=[group.units])[0] for ratio in ratios]
        return Curve(
            root=group.root,
            channels=group.size,
            removed=tuple(group.size - len(keep) for keep in kept),
            saved=tuple(1 - ranking.cost.after([(group, keep)]) / ranking.cost.total for keep in kept),
            lost=tuple(lost(group, keep) for keep in kept),
        )

    return Sensitivity(
        criterion=criterion,
        recalibrated=recalibrated,
        top1=before,
        images=images,
        ratios=ratios,
        curves=tuple(curve(group, score) for group, score in _ordered(ranking)),
    )


def _ordered(ranking: Ranking) -> list[tuple[ChannelGroup, Tensor]]:
    return sorted(ranking.scored, key=lambda pair: _position(pair[0], ranking.cost))


def _position(group: ChannelGroup, cost: Cost) -> int:
    """Of the first layer that makes the channels, among those of the network."""
    layers = list(cost.macs)
    return min(layers.index(maker.name) for maker in group.makers)
