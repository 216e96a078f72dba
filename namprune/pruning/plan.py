"""A removal as data: which channels of which layers stay, why, and what it saves. Inspect, save, replay."""

from dataclasses import dataclass

from torch import Tensor, nn

from namprune.choices import Scope
from namprune.errors import PruneError
from namprune.pruning.apply import apply_cuts
from namprune.pruning.bottleneck import BottleneckCut, chained
from namprune.pruning.cut import GroupCut
from namprune.pruning.graph import ChannelGraph
from namprune.pruning.ranking import Shape
from namprune.result import Target, record_from_json, to_json
from namprune.table import Table, quantity


@dataclass(frozen=True, kw_only=True)
class PruningPlan:
    """One removal from one network."""

    input_shape: Shape
    """Of the pictures that it was made for."""
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
    """Share of the channels that go whose BatchNorm factors were near zero when they went."""
    macs_before: int
    macs_after: int

    def __repr__(self) -> str:
        """In a line, whatever the widths: the indices are for `to_json`, a row per group for `to_table`."""
        channels = f"{self.channels_after} of {self.channels_before} channels"
        macs = f"{quantity(self.macs_after)} of {quantity(self.macs_before)} MACs"
        return f"PruningPlan({channels} and {macs} stay; {self.criterion}, {self.scope})"

    @property
    def channels_before(self) -> int:
        """Channels of all groups before."""
        return sum(cut.before for cut in self.groups)

    @property
    def channels_after(self) -> int:
        """Channels of all groups after."""
        return sum(len(cut.kept) for cut in self.groups)

    def apply(self, model: nn.Module, *, pictures: Tensor | None = None, graph: ChannelGraph | None = None) -> float:
        """Cut a network in place and return the proof: how far its logits on noise and on `pictures` (N, C, H, W) are
        from those with the same channels at zero, as a share of the largest.

        The parameters are new objects afterwards: build an optimizer after the cut. A `graph` of the network spares
        tracing it.

        Raises:
            PruneError: the plan was made for another network.
            ProofError: the difference is more than rounding; the network is as it was.
        """
        return apply_cuts(model, self.groups, self.bottlenecks, self.input_shape, pictures=pictures, graph=graph)

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
    gone = [plan.channels_before - plan.channels_after for plan in (first, second)]
    dying = [plan.near_zero_removed * count for plan, count in zip((first, second), gone, strict=True)]
    return PruningPlan(
        input_shape=first.input_shape,
        ratio=1 - sum(len(cut.kept) for cut in cuts) / sum(cut.before for cut in cuts),
        criterion=second.criterion,
        scope=second.scope,
        floor=second.floor,
        round_to=second.round_to,
        groups=tuple(cuts),
        bottlenecks=chained(first.bottlenecks, second.bottlenecks),
        skipped=second.skipped,
        near_zero=first.near_zero,
        near_zero_removed=sum(dying) / max(1, sum(gone)),
        macs_before=first.macs_before,
        macs_after=second.macs_after,
    )
