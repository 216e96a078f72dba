"""A removal as data: which channels of which layers stay, why, and what it saves. Inspect, save, replay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from namprune.choices import CriterionName, Scope
from namprune.errors import PruneError
from namprune.pruning.allocate import allocate, least_width
from namprune.pruning.cost import Cost
from namprune.pruning.graph import ChannelGraph
from namprune.pruning.importance import build_importance, near_zero
from namprune.result import record_from_json, to_json
from namprune.table import Table, quantity

Shape = tuple[int, int, int]


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
    criterion: CriterionName
    scope: Scope
    floor: float
    round_to: int
    groups: tuple[GroupCut, ...]
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
        """One row per group, for people."""
        cuts = tuple(
            (cut.root, cut.note, str(len(cut.layers)), str(cut.before), str(len(cut.kept)), quantity(cut.macs_saved))
            for cut in self.groups
        )
        left_alone = tuple((layer, f"left alone: {reason}", "", "", "", "") for layer, reason in self.skipped.items())
        removed = 1 - self.channels_after / self.channels_before
        saved = 1 - self.macs_after / self.macs_before
        return Table(
            title=f"{self.criterion}, {self.scope}: {removed:.1%} of the channels, {saved:.1%} of the MACs",
            columns=("Group", "Note", "Layers", "Channels", "Kept", "MACs saved alone"),
            text_columns=2,
            rows=cuts + left_alone,
        )


def make_plan(
    graph: ChannelGraph,
    input_shape: Shape,
    *,
    ratio: float,
    criterion: CriterionName = "nam",
    scope: Scope = "global",
    floor: float = 0.1,
    round_to: int = 1,
    seed: int = 0,
) -> PruningPlan:
    """Rank the channels of every group and decide which stay. The network is not touched.

    Raises:
        PruneError: nothing can be removed under these conditions.
    """
    importance = build_importance(criterion, seed=seed)
    scored = [(group, importance(group)) for group in graph.groups]
    ranked = [(group, score) for group, score in scored if score is not None]
    unranked = {group.root: f"{criterion} has nothing to judge it by" for group, score in scored if score is None}
    kept = allocate([score for _, score in ranked], ratio=ratio, scope=scope, floor=floor, round_to=round_to)
    cost = Cost.of(graph.model, input_shape)
    dead = {group.root: mask for group, mask in zip(graph.groups, near_zero(graph.groups), strict=True)}
    cuts = tuple(
        GroupCut(
            root=group.root,
            layers=tuple(member.name for member in group.members),
            before=group.size,
            kept=tuple(keep.tolist()),
            scores=tuple(score.tolist()),
            macs_saved=cost.total - cost.after([(group, keep)]),
            note=_note(group.size, len(keep), scope=scope, floor=floor, round_to=round_to),
        )
        for (group, score), keep in zip(ranked, kept, strict=True)
    )
    if all(len(cut.kept) == cut.before for cut in cuts):
        raise PruneError(
            f"prune.ratio: {ratio:g} removes no channel with floor {floor:g} and round_to {round_to}",
            hint="raise the ratio or lower round_to",
        )
    return PruningPlan(
        ratio=ratio,
        criterion=criterion,
        scope=scope,
        floor=floor,
        round_to=round_to,
        groups=cuts,
        skipped=graph.skipped | unranked,
        near_zero=sum(int(mask.sum()) for mask in dead.values()) / sum(map(len, dead.values())),
        near_zero_removed=_removed_share(cuts, dead),
        macs_before=cost.total,
        macs_after=cost.after([(group, keep) for (group, _), keep in zip(ranked, kept, strict=True)]),
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
