"""Decide what goes: score every group, search the share of the channels that reaches the aim, and say why."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from namprune.choices import BottleneckRule, Scope
from namprune.data.images import Batch
from namprune.errors import PruneError
from namprune.pruning.allocate import least_width
from namprune.pruning.cost import Cost
from namprune.pruning.cut import GroupCut
from namprune.pruning.factors import near_zero
from namprune.pruning.graph import ChannelGraph
from namprune.pruning.group import ChannelGroup
from namprune.pruning.importance import Criterion, criterion_name
from namprune.pruning.pins import Pin, pinned
from namprune.pruning.plan import PruningPlan
from namprune.pruning.ranking import Choice, Ranking, Shape
from namprune.pruning.sensitivity import Sensitivity, rescored
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
    sensitivity: Sensitivity | None = None,
    ratios: Mapping[str, float] | None = None,
    keep: Sequence[str] = (),
    after: PruningPlan | None = None,
    cuts: int = 1,
    nearest: bool = False,
) -> PruningPlan:
    """Rank the channels of every group and decide which stay. The network is not touched.

    How much goes is said by one of `ratio`, the share of the channels to remove, `target_macs`, the share of the
    multiply-accumulates to keep, which is met to 2 %, and `target`, any other goal. Groups that patterns of `keep`
    name stay whole and those of `ratios` lose that share (`pinned`); the ratio is of the others' channels.

    A criterion is one of `IMPORTANCES` or a function from a group to its scores. Those that look at pictures take
    all of `batches`. The scope `sensitivity` needs that of this network (`measure_sensitivity`).

    Ratios, floor and `target_macs` are of the network before the cut `after`, where there was one. With `cuts` this
    is only the next of so many, each of which leaves the same share of what it finds. With `nearest` a target that no
    cut meets is come as near to as a cut can.

    Raises:
        PruneError: nothing can be removed under these conditions, the target cannot be met, or a pattern names nothing.
        ValueError: not one of `ratio`, `target_macs` and `target`, or no batches where the criterion needs them, or
            no sensitivity where the scope does.
    """
    macs = None if target_macs is None else macs_share(target_macs, of=after.macs_before if after else None)
    aim = _only(ratio, macs, target)
    terms = _Terms(
        scope=scope,
        floor=floor,
        round_to=round_to,
        pins=pinned(graph, ratios=ratios or {}, keep=keep),
        before={cut.root: cut.before for cut in after.groups} if after else {},
    )
    ranking = Ranking.of(graph, input_shape, criterion=criterion, bottlenecks=bottlenecks, seed=seed, batches=batches)
    ranking = _scoped(ranking, scope, sensitivity)
    choice = _choose(ranking, aim, terms, cuts=cuts, nearest=nearest)
    plan = _plan_of(graph, input_shape, ranking, choice, terms, name=criterion_name(criterion))
    return replace(
        plan,
        ratio=choice.ratio if ratio is None else ratio,
        target_macs=target_macs,
        target=target.record(choice.value) if target else None,
    )


@dataclass(frozen=True, kw_only=True)
class _Terms:
    """What a cut has to heed, whatever it is to reach."""

    scope: Scope
    floor: float
    round_to: int
    pins: Mapping[str, Pin]
    """Groups that have a share of their own, by root."""
    before: Mapping[str, int]
    """Widths before earlier cuts, by root."""

    def full(self, group: ChannelGroup) -> int:
        """The width that shares and floor count from."""
        return self.before.get(group.root, group.size)


def _choose(ranking: Ranking, aim: float | Goal, terms: _Terms, *, cuts: int, nearest: bool) -> Choice:
    groups = [group for group, _ in ranking.scored]
    if terms.pins and not isinstance(aim, Goal) and all(group.root in terms.pins for group in groups):
        raise PruneError(
            f"prune.ratio: {aim:g} is of the layers that prune.keep and prune.ratios do not name: they name all",
            hint="name fewer layers there, or give a target in the place of the ratio",
        )
    return ranking.choose(
        aim,
        scope=terms.scope,
        floor=terms.floor,
        round_to=terms.round_to,
        fixed={at: terms.pins[group.root].share for at, group in enumerate(groups) if group.root in terms.pins},
        full=[terms.full(group) for group in groups],
        cuts=cuts,
        nearest=nearest,
    )


def _plan_of(
    graph: ChannelGraph, input_shape: Shape, ranking: Ranking, choice: Choice, terms: _Terms, *, name: str
) -> PruningPlan:
    """A choice as a plan; PruneError if nothing goes."""
    groups = tuple(
        _group_cut(group, score, keep, cost=ranking.cost, note=HELD if at in choice.held else _note(group, keep, terms))
        for at, ((group, score), keep) in enumerate(zip(ranking.scored, choice.kept, strict=True))
    )
    if not any(cut.removed for cut in groups):
        limits = f"floor {terms.floor:g} and round_to {terms.round_to}"
        raise PruneError(
            f"prune.ratio: {choice.ratio:g} removes no channel with {limits}",
            hint="raise the ratio or lower round_to" + ", or keep fewer layers" * bool(terms.pins),
        )
    dead, dead_removed = _near_zero(graph, groups)
    return PruningPlan(
        input_shape=input_shape,
        ratio=choice.ratio,
        criterion=name,
        scope=terms.scope,
        floor=terms.floor,
        round_to=terms.round_to,
        groups=groups,
        bottlenecks=ranking.shrunk(choice.kept),
        skipped=graph.skipped | {group.root: f"{name} has nothing to judge it by" for group in ranking.unscored},
        near_zero=dead,
        near_zero_removed=dead_removed,
        macs_before=ranking.cost.total,
        macs_after=ranking.macs_after(choice.kept),
    )


def _only(*aims: float | Goal | None) -> float | Goal:
    given = [aim for aim in aims if aim is not None]
    if len(given) != 1:
        raise ValueError("give one of ratio, target_macs and target")
    return given[0]


def _scoped(ranking: Ranking, scope: Scope, sensitivity: Sensitivity | None) -> Ranking:
    """The ranking by the scores that the scope goes by."""
    if scope != "sensitivity":
        return ranking
    if sensitivity is None:
        raise ValueError("scope sensitivity needs the sensitivity of the network")
    return replace(ranking, scored=rescored(ranking.scored, sensitivity))


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


def _near_zero(graph: ChannelGraph, groups: Sequence[GroupCut]) -> tuple[float, float]:
    """Share of all channels whose factors are near zero, and of those that go."""
    dead = {group.root: mask for group, mask in zip(graph.groups, near_zero(graph.groups), strict=True)}
    shares = [torch.cat([*dead.values()]), torch.cat([dead[cut.root][list(cut.removed)] for cut in groups])]
    everywhere, removed = (int(mask.sum()) / len(mask) for mask in shares)
    return everywhere, removed


def _note(group: ChannelGroup, keep: Tensor, terms: _Terms) -> str:
    least = least_width(terms.full(group), floor=terms.floor, round_to=math.lcm(terms.round_to, group.unit))
    pin = terms.pins.get(group.root)
    if pin is not None and (pin.share == 0 or len(keep) not in (group.size, least)):
        return pin.why
    why = f"{pin.why}; " if pin else ""
    if len(keep) == group.size and group.size <= least:
        return f"{why}cannot be narrower"
    if len(keep) == group.size and (pin or terms.scope == "local"):
        return f"{why}its next narrower width is below what is asked"
    if len(keep) == group.size:
        return "all of its channels rank higher than those removed"
    return f"{why}at the floor" if len(keep) == least else ""
