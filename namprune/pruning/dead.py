"""Channels that a training has brought near zero, as a removal (PruneTrain, Lym et al., 2019):
https://arxiv.org/abs/1901.09290."""

from collections.abc import Sequence

from namprune.choices import BottleneckRule
from namprune.pruning.allocate import least_width
from namprune.pruning.factors import largest_factor, near_zero
from namprune.pruning.graph import ChannelGraph
from namprune.pruning.pins import pinned
from namprune.pruning.plan import PruningPlan
from namprune.pruning.planning import make_plan
from namprune.pruning.ranking import Shape


def dead_plan(
    graph: ChannelGraph,
    input_shape: Shape,
    *,
    floor: float,
    keep: Sequence[str] = (),
    bottlenecks: BottleneckRule = "auto",
    after: PruningPlan | None = None,
) -> PruningPlan | None:
    """The removal of exactly the channels that are `near_zero`, but for what must stay; None without any.

    All channels stay in the layers that patterns of `keep` name, in others as many as the floor says, which counts
    from the widths before the cut `after`, where there was one.

    Raises:
        PruneError: a pattern names nothing.
    """
    before = {cut.root: cut.before for cut in after.groups} if after else {}
    kept = pinned(graph, ratios={}, keep=keep)
    dying = full = now = 0
    for group, dead in zip(graph.groups, near_zero(graph.groups), strict=True):
        if group.norms and group.root not in kept:
            width = before.get(group.root, group.size)
            spare = max(0, group.size - least_width(width, floor=floor, round_to=group.unit))
            dying, full, now = dying + min(int(dead.sum()), spare), full + width, now + group.size
    if not dying:
        return None
    # They are near zero beside the largest factor of all, so one ranking of all has them at its end.
    ratio = (full - now + dying) / full
    return make_plan(
        graph,
        input_shape,
        ratio=ratio,
        criterion=largest_factor,
        floor=floor,
        bottlenecks=bottlenecks,
        keep=keep,
        after=after,
    )
