"""Decide what goes: score every group, search the share of the channels that reaches the aim, and say why."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from torch import Tensor

from namprune.choices import BottleneckRule, Scope
from namprune.data.images import Batch
from namprune.errors import PruneError
from namprune.pruning.allocate import least_width
from namprune.pruning.cost import Cost
from namprune.pruning.cut import GroupCut
from namprune.pruning.factors import near_zero
from namprune.pruning.graph import ChannelGraph, ChannelGroup
from namprune.pruning.importance import Criterion, criterion_name
from namprune.pruning.plan import PruningPlan
from namprune.pruning.ranking import Ranking, Shape
from namprune.pruning.target import Goal, macs_share

HELD = "held: one step narrower would miss the target"
"""Note of a group whose channels are too dear for the target."""


def make_plan(
    graph: ChannelGraph,
    input_shape: Shape,
    *,
    ratio: float | None = None,
    target_macs: float | None = None,
    target: Goal | None = None,
    criterion: Criterion = "nam",
    scope: Scope = "global",
    floor: float = 0.1,
    round_to: int = 1,
    bottlenecks: BottleneckRule = "auto",
    seed: int = 0,
    batches: Iterable[Batch] | None = None,
) -> PruningPlan:
    """Rank the channels of every group and decide which stay. The network is not touched.

    How much goes is said by one of `ratio`, the share of the channels to remove, `target_macs`, the share of the
    multiply-accumulates to keep, which is met to 2 %, and `target`, any other goal.

    A criterion is one of `IMPORTANCES` or a function from a group to its scores. Those that look at pictures take
    all of `batches`.

    Raises:
        PruneError: nothing can be removed under these conditions, or the target cannot be met.
        ValueError: not one of `ratio`, `target_macs` and `target`, or no batches where the criterion needs them.
    """
    aim = _only(ratio, None if target_macs is None else macs_share(target_macs), target)
    ranking = Ranking.of(graph, input_shape, criterion=criterion, bottlenecks=bottlenecks, seed=seed, batches=batches)
    ratio, kept, value, held = ranking.choose(aim, scope=scope, floor=floor, round_to=round_to)
    dead = {group.root: mask for group, mask in zip(graph.groups, near_zero(graph.groups), strict=True)}
    note = partial(_note, scope=scope, floor=floor, round_to=round_to)
    cuts = tuple(
        _group_cut(group, score, keep, cost=ranking.cost, note=HELD if at in held else note(group.size, len(keep)))
        for at, ((group, score), keep) in enumerate(zip(ranking.scored, kept, strict=True))
    )
    if all(len(cut.kept) == cut.before for cut in cuts):
        raise PruneError(
            f"prune.ratio: {ratio:g} removes no channel with floor {floor:g} and round_to {round_to}",
            hint="raise the ratio or lower round_to",
        )
    name = criterion_name(criterion)
    return PruningPlan(
        input_shape=input_shape,
        ratio=ratio,
        target_macs=target_macs,
        target=None if target is None else target.record(value),
        criterion=name,
        scope=scope,
        floor=floor,
        round_to=round_to,
        groups=cuts,
        bottlenecks=ranking.shrunk(kept),
        skipped=graph.skipped | {group.root: f"{name} has nothing to judge it by" for group in ranking.unscored},
        near_zero=sum(int(mask.sum()) for mask in dead.values()) / sum(map(len, dead.values())),
        near_zero_removed=_removed_share(cuts, dead),
        macs_before=ranking.cost.total,
        macs_after=ranking.macs_after(kept),
    )


def _only(*aims: float | Goal | None) -> float | Goal:
    given = [aim for aim in aims if aim is not None]
    if len(given) != 1:
        raise ValueError("give one of ratio, target_macs and target")
    return given[0]


def _group_cut(group: ChannelGroup, score: Tensor, keep: Tensor, *, cost: Cost, note: str) -> GroupCut:
    return GroupCut(
        root=group.root,
        layers=tuple(member.name for member in group.members),
        before=group.size,
        kept=tuple(keep.tolist()),
        scores=tuple(score.tolist()),
        macs_saved=cost.total - cost.after([(group, keep)]),
        note=note,
    )


def _removed_share(cuts: Sequence[GroupCut], dead: Mapping[str, Tensor]) -> float:
    gone = dying = 0
    for cut in cuts:
        stays = set(cut.kept)
        fates = [bool(mask) for index, mask in enumerate(dead[cut.root]) if index not in stays]
        gone, dying = gone + len(fates), dying + sum(fates)
    return dying / gone


def _note(before: int, kept: int, *, scope: Scope, floor: float, round_to: int) -> str:
    least = least_width(before, floor=floor, round_to=round_to)
    if kept == before and least == before:
        return "cannot be narrower"
    if kept == before and scope == "local":
        return "its next narrower width is below what is asked"
    if kept == before:
        return "all of its channels rank higher than those removed"
    return "at the floor" if kept == least else ""
