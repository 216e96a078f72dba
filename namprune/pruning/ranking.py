"""The channels of a network, scored once by one criterion; how many go is then a matter of counting."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

from torch import Tensor

from namprune.choices import BottleneckRule, Scope
from namprune.data.images import Batch
from namprune.errors import PruneError
from namprune.pruning.allocate import allocate
from namprune.pruning.bottleneck import BottleneckCut, shrinks, shrunk
from namprune.pruning.cost import Cost
from namprune.pruning.follow import OUTPUT
from namprune.pruning.graph import ChannelGraph
from namprune.pruning.group import ChannelGroup
from namprune.pruning.importance import Criterion, criterion_name, score_groups
from namprune.pruning.target import Found, Goal, bracket, missed, part_way, reached

Shape: TypeAlias = tuple[int, int, int]
"""Channels, height, width."""


@dataclass(frozen=True)
class Ranking:
    """The groups of a network with the (size,) scores of their channels, and what its layers cost."""

    scored: tuple[tuple[ChannelGroup, Tensor], ...]
    unscored: tuple[ChannelGroup, ...]
    """Groups that the criterion has nothing to judge by: they stay whole."""
    cost: Cost

    @classmethod
    def of(
        cls,
        graph: ChannelGraph,
        input_shape: Shape,
        *,
        criterion: Criterion = "nam",
        bottlenecks: BottleneckRule = "auto",
        seed: int = 0,
        batches: Iterable[Batch] | None = None,
    ) -> "Ranking":
        """Score every group, as `score_groups` does; the network is not touched.

        Raises:
            PruneError: no channels can go, or the criterion has nothing to judge any by.
        """
        if not graph.groups:
            raise _nothing_to_cut(graph)
        scores = score_groups(graph, criterion, batches=batches, seed=seed)
        pairs = list(zip(graph.groups, scores, strict=True))
        if all(score is None for score in scores):
            raise PruneError(
                f"prune.criterion: {criterion_name(criterion)} has nothing to judge by: "
                "no channels that can go have BatchNorms",
                hint="take --criterion l1, which judges by weights",
            )
        return cls(
            scored=tuple((group, score) for group, score in pairs if score is not None),
            unscored=tuple(group for group, score in pairs if score is None),
            cost=Cost.of(graph.model, input_shape, shrinks=shrinks(graph.model, bottlenecks)),
        )

    def kept(
        self,
        ratio: float,
        *,
        scope: Scope,
        floor: float,
        round_to: int,
        held: Mapping[int, int] | None = None,
        fixed: Mapping[int, float] | None = None,
        full: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """Indices that stay of each scored group, ascending; the other arguments are those of `allocate`."""
        return allocate(
            [score for _, score in self.scored],
            ratio=ratio,
            scope=scope,
            floor=floor,
            round_to=round_to,
            held=held,
            fixed=fixed,
            full=full,
            units=[group.units for group, _ in self.scored],
        )

    def macs_after(self, kept: Sequence[Tensor]) -> int:
        """Multiply-accumulates of one picture with only these channels."""
        return self.cost.after(self._cuts(kept))

    def shrunk(self, kept: Sequence[Tensor]) -> tuple[BottleneckCut, ...]:
        """The bottlenecks that get narrower with only these channels."""
        return shrunk(self._cuts(kept)) if self.cost.shrinks else ()

    def choose(
        self,
        aim: float | Goal,
        *,
        scope: Scope,
        floor: float,
        round_to: int,
        fixed: Mapping[int, float] | None = None,
        full: Sequence[int] | None = None,
        cuts: int = 1,
        nearest: bool = False,
    ) -> "Choice":
        """What stays when a share of the channels goes, or as much as reaches a goal, which is found by bisection.

        `fixed` are shares of some groups, by position, that go in any case, and `full` the widths that shares count
        from. With `cuts` this is only the next of so many, which reach the aim together.

        Where one channel more is a step over the goal, because many layers carry it, its group is held at its width
        and cheaper ones go in its place.

        Raises:
            PruneError: no cut reaches it; says how far one can go, or what is nearest. That one is taken with
                `nearest`, but where what is there already is nearer.
        """
        full = full or [group.size for group, _ in self.scored]
        others = [at for at in range(len(full)) if at not in (fixed or {})]
        fixed = {at: self._next_share(share, [at], full, cuts) for at, share in (fixed or {}).items()}
        held: dict[int, int] = {}
        keep = partial(self.kept, scope=scope, floor=floor, round_to=round_to, held=held, fixed=fixed, full=full)
        if not isinstance(aim, Goal):
            ratio = self._next_share(aim, others, full, cuts)
            return Choice(ratio, keep(ratio))
        goal = aim.next_of(cuts, now=aim.measure(self.cost, ())) if cuts > 1 else aim
        limits = f"floor {floor:g} and round_to {round_to}" + " beside prune.keep and prune.ratios" * bool(fixed)
        channel = 1 / max(1, sum(full[at] for at in others))
        return self._search(goal, keep, held, channel=channel, limits=limits, nearest=nearest)

    def _next_share(self, share: float, groups: Sequence[int], full: Sequence[int], cuts: int) -> float:
        """Of the full width of some groups, what is to be gone after the next of so many cuts that end at `share`."""
        if cuts == 1 or not groups:
            return share
        now = sum(self.scored[at][0].size for at in groups) / sum(full[at] for at in groups)
        return 1 - part_way(1 - share, now, cuts)

    def _search(
        self,
        goal: Goal,
        keep: Callable[[float], list[Tensor]],
        held: dict[int, int],
        *,
        channel: float,
        limits: str,
        nearest: bool,
    ) -> "Choice":
        """Bisect the share of the channels that reaches a goal; `keep` gives what stays, the groups in `held` held."""

        def left(ratio: float) -> float:
            return goal.measure(self.cost, self._cuts(keep(ratio)))

        def chosen(found: Found) -> Choice:
            return Choice(found.ratio, keep(found.ratio), found.value, frozenset(held))

        pins = not self._whole(keep(0.0))
        first = around = bracket(goal, left, channel=channel)
        tried: list[Choice] = []
        while not (found := reached(goal, around, from_start=pins)) or self._whole(keep(found.ratio)):
            tried += map(chosen, (around.less, around.more))
            step = next(_steps(tried[-2].kept, tried[-1].kept), None)
            if step is None or goal.resolution or not goal.admits(around.less.value) or goal.admits(around.more.value):
                best = min(tried, key=lambda choice: abs(choice.value - goal.asked))
                if nearest and not self._whole(best.kept):
                    return best
                raise missed(goal, first, limits=limits, pins=pins)
            held.update([step])
            around = bracket(goal, left, channel=channel)
        return chosen(found)

    def _whole(self, kept: Sequence[Tensor]) -> bool:
        return all(len(keep) == group.size for (group, _), keep in zip(self.scored, kept, strict=True))

    def _cuts(self, kept: Sequence[Tensor]) -> list[tuple[ChannelGroup, Tensor]]:
        return [(group, keep) for (group, _), keep in zip(self.scored, kept, strict=True)]


def _nothing_to_cut(graph: ChannelGraph) -> PruneError:
    layers = [f"{layer}: {why}" for layer, why in graph.skipped.items() if why != OUTPUT]
    more = f", and {len(layers) - 3} more" if len(layers) > 3 else ""
    return PruneError(
        "no channels of this network can go" + (f": {'; '.join(layers[:3])}{more}" if layers else ""),
        hint="convolutions and linear layers can lose channels that only known operations carry on",
    )


class Choice(NamedTuple):
    """A share of the channels to remove, the indices that stay of each scored group, and what is left of the goal."""

    ratio: float
    kept: list[Tensor]
    value: float = 0.0
    held: frozenset[int] = frozenset()
    """Positions of the groups that were held at their width, because less of them would have missed the goal."""


def _steps(before: Sequence[Tensor], after: Sequence[Tensor]) -> Iterator[tuple[int, int]]:
    """Positions of the groups that are narrower after than before, with their width before."""
    for position, (wide, narrow) in enumerate(zip(before, after, strict=True)):
        if len(narrow) < len(wide):
            yield position, len(wide)
