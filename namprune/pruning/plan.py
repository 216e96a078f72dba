"""A removal as data: which channels of which layers stay, why, and what it saves. Inspect, save, replay."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from namprune.choices import BottleneckRule, Scope
from namprune.data.images import Batch
from namprune.errors import PruneError
from namprune.pruning.allocate import least_width
from namprune.pruning.bottleneck import BottleneckCut, chained
from namprune.pruning.cost import Cost
from namprune.pruning.factors import near_zero
from namprune.pruning.graph import ChannelGraph, ChannelGroup
from namprune.pruning.importance import Criterion, criterion_name
from namprune.pruning.ranking import Ranking, Shape
from namprune.pruning.target import Goal, macs_share
from namprune.result import Target, record_from_json, to_json
from namprune.table import Table, quantity

HELD = "held: one step narrower would miss the target"
"""Note of a group whose channels are too dear for the target."""


@dataclass(frozen=True, kw_only=True)
class GroupCut:
    """What happens to one group of channels."""

    root: str
    """The layer that names the group."""
    layers: tuple[str, ...]
    """Every layer that loses channels with it."""
    before: int
    kept: tuple[int, ...]
    """Indices that stay, ascending."""
    scores: tuple[float, ...]
    macs_saved: int
    """Multiply-accumulates of one picture that this cut alone would save."""
    note: str = ""
    """Why it gives less than its scores would have it give."""


@dataclass(frozen=True, kw_only=True)
class PruningPlan:
    """One removal from one network."""

    ratio: float
    """Share of the channels that was to go: asked for, or found for a target."""
    target_macs: float | None = None
    """Share of the MACs that was to stay."""
    target: Target | None = None
    """What else was to be reached, and what is."""
    criterion: str
    """Its name; of a function of the user's own, that one's."""
    scope: Scope
    floor: float
    round_to: int
    groups: tuple[GroupCut, ...]
    bottlenecks: tuple[BottleneckCut, ...] = ()
    """Hidden dimensions of attentions that shrink with their channels."""
    skipped: dict[str, str]
    """Layers that are left alone, and why."""
    near_zero: float
    """Share of all channels whose BatchNorm factors were near zero before the cut."""
    near_zero_removed: float
    """Share of the channels that go whose BatchNorm factors were near zero."""
    macs_before: int
    macs_after: int

    @property
    def channels_before(self) -> int:
        """Channels of all groups before."""
        return sum(cut.before for cut in self.groups)

    @property
    def channels_after(self) -> int:
        """Channels of all groups after."""
        return sum(len(cut.kept) for cut in self.groups)

    def to_json(self) -> str:
        """Indented JSON."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> "PruningPlan":
        """Read what `to_json` wrote; RunError for anything else."""
        return record_from_json(cls, text, source=source)

    def to_table(self) -> Table:
        """One row per group, per bottleneck that shrinks and per layer left alone, for people."""
        cuts = tuple(
            (cut.root, cut.note, str(len(cut.layers)), str(cut.before), str(len(cut.kept)), quantity(cut.macs_saved))
            for cut in self.groups
        )
        shrinking = tuple(
            (hidden.layer, f"bottleneck {hidden.name}", "", str(hidden.before), str(len(hidden.kept)), "")
            for hidden in self.bottlenecks
        )
        left_alone = tuple((layer, f"left alone: {reason}", "", "", "", "") for layer, reason in self.skipped.items())
        removed = 1 - self.channels_after / self.channels_before
        saved = 1 - self.macs_after / self.macs_before
        return Table(
            title=f"{self.criterion}, {self.scope}: {removed:.1%} of the channels, {saved:.1%} of the MACs",
            columns=("Group", "Note", "Layers", "Channels", "Kept", "MACs saved alone"),
            text_columns=2,
            rows=cuts + shrinking + left_alone,
        )


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


def compose(first: PruningPlan, second: PruningPlan) -> PruningPlan:
    """The one plan that does to a network what `first` and then `second` do: indices of `second` count in what
    `first` left.

    Raises:
        PruneError: `second` was not made for the network that `first` leaves.
    """
    earlier = {cut.root: cut for cut in first.groups}
    cuts = []
    for cut in second.groups:
        base = earlier.pop(cut.root, None)
        if base is None or len(base.kept) != cut.before:
            raise PruneError(f"{cut.root}: the second plan was not made for what the first one leaves")
        cuts.append(
            GroupCut(
                root=cut.root,
                layers=base.layers,
                before=base.before,
                kept=tuple(base.kept[index] for index in cut.kept),
                scores=base.scores,
                macs_saved=base.macs_saved + cut.macs_saved,
                note=cut.note,
            )
        )
    cuts += earlier.values()
    return PruningPlan(
        ratio=1 - sum(len(cut.kept) for cut in cuts) / sum(cut.before for cut in cuts),
        criterion=second.criterion,
        scope=second.scope,
        floor=second.floor,
        round_to=second.round_to,
        groups=tuple(cuts),
        bottlenecks=chained(first.bottlenecks, second.bottlenecks),
        skipped=second.skipped,
        near_zero=first.near_zero,
        near_zero_removed=first.near_zero_removed,
        macs_before=first.macs_before,
        macs_after=second.macs_after,
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
