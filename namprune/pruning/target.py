"""What a cut is to reach, and the search for the share of the channels whose removal reaches it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from namprune import console
from namprune.choices import TargetName
from namprune.errors import PruneError
from namprune.pruning.cost import Cost
from namprune.pruning.group import Cuts
from namprune.pruning.size import file_bytes, parameters
from namprune.result import Target
from namprune.signals import poll
from namprune.table import worded

TOLERANCE = 0.02
"""How far from what was asked for a cut may end, as a share of it, where that is known exactly beforehand."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A quantity that falls as channels go, and where it is to end; or one that rises, and may not pass a bound."""

    key: TargetName
    asked: float
    unit: str
    """As `table.worded` takes it."""
    measure: Callable[[Cost, Cuts], float]
    """The quantity that a cut of the network leaves."""
    tolerance: float | None = TOLERANCE
    """None for a bound: the largest cut that keeps it."""
    resolution: float = 0.0
    """Share of the channels at which the search ends; in any case at one channel."""

    def record(self, reached: float) -> Target:
        """What to write down of it."""
        return Target(key=self.key, asked=self.asked, reached=reached, unit=self.unit)

    def next_of(self, cuts: int, *, now: float) -> "Goal":
        """The goal of the next of so many cuts that lead there from `now`; it may be missed, but not pass the end."""
        asked = part_way(self.asked, now, cuts)
        return replace(self, asked=asked, tolerance=1 - self.asked / asked) if cuts > 1 else self

    def admits(self, value: float) -> bool:
        """Whether more may go."""
        return value <= self.asked if self.tolerance is None else value >= self.asked


def part_way(end: float, now: float, cuts: int) -> float:
    """What the next of so many cuts leaves, if each leaves the same share of what it finds."""
    return end if cuts == 1 else now * (end / now) ** (1 / cuts)


class Found(NamedTuple):
    """A share of the channels to remove, and what it leaves of the quantity."""

    ratio: float
    value: float


def macs_share(share: float, *, of: int | None = None) -> Goal:
    """Keep this share of the multiply-accumulates, of a number of them or of those that the network has."""
    return Goal(
        key="target_macs",
        asked=share,
        unit="x MACs",
        measure=lambda cost, cuts: cost.after(cuts) / (of or cost.total),
    )


def params_share(share: float, *, of: int | None = None) -> Goal:
    """Keep this share of the parameters, of a number of them or of those that the network has."""
    return Goal(
        key="target_params",
        asked=share,
        unit="x parameters",
        measure=lambda cost, cuts: parameters(cost.tensors_after(cuts)) / (of or parameters(cost.tensors)),
    )


def file_size(size: int) -> Goal:
    """Come to a file of weights of this many bytes."""
    return Goal(
        key="target_size",
        asked=size,
        unit="B",
        measure=lambda cost, cuts: file_bytes(cost.tensors_after(cuts)),
    )


class Bracket(NamedTuple):
    """Two neighbouring cuts, the first on this side of a goal and the second beyond it, if there is such a one."""

    start: Found
    """At a share of 0."""
    less: Found
    more: Found


def bracket(goal: Goal, measure: Callable[[float], float], *, channel: float) -> Bracket:
    """Search the cuts on both sides of a goal by bisection.

    `measure` gives the quantity after the removal of a share of the channels, `channel` is the share of one channel.
    """
    end = max(goal.resolution, channel / 2)
    with console.progress(2 + math.ceil(-math.log2(end)), f"searching {goal.key}", late=True) as bar:

        def tried(ratio: float) -> Found:
            poll()
            found = Found(ratio, measure(ratio))
            if goal.resolution:  # what is measured: the others are calculated, by the hundred
                console.detail(f"{goal.key}: {ratio:.4g} of the channels -> {worded(found.value, goal.unit)}")
            bar.advance(note=worded(found.value, goal.unit))
            return found

        start = less = tried(0.0)
        more = tried(1.0)
        while goal.admits(less.value) and not goal.admits(more.value) and more.ratio - less.ratio > end:
            found = tried((less.ratio + more.ratio) / 2)
            less, more = (found, more) if goal.admits(found.value) else (less, found)
    return Bracket(start, less, more)


def reached(goal: Goal, around: Bracket, *, from_start: bool = False) -> Found | None:
    """The one of the two cuts that reaches the goal, if one does; a cut that removes nothing does not.

    `from_start`: something goes even at a share of 0.
    """
    if goal.tolerance is None:
        best = around.more if goal.admits(around.more.value) else around.less
        return best if goal.admits(best.value) and (best.ratio > 0 or from_start) else None
    nearest = min(around.less, around.more, key=lambda end: abs(end.value - goal.asked))
    nearest = around.more if nearest.value == around.start.value and not from_start else nearest
    return nearest if abs(nearest.value - goal.asked) <= goal.tolerance * goal.asked else None


def missed(goal: Goal, around: Bracket, *, limits: str, pins: bool = False) -> PruneError:
    """Why no cut reaches the goal, and how far one can go; `limits` says what confines the widths.

    `pins`: the start of the search is what shares given by name leave.
    """
    if pins and not goal.admits(around.start.value):
        return PruneError(
            f"prune.{goal.key}: {worded(goal.asked, goal.unit)} was asked, prune.ratios alone come to "
            f"{worded(around.start.value, goal.unit)}",
            hint=f"lower the shares in prune.ratios, or change prune.{goal.key}",
        )
    return _no_small_cut(goal, around, limits) if goal.tolerance is None else _out_of_reach(goal, around, limits)


def _no_small_cut(goal: Goal, around: Bracket, limits: str) -> PruneError:
    if goal.admits(around.more.value):
        return PruneError(
            f"prune.{goal.key}: {limits} leave no channel that may go",
            hint="lower prune.floor or prune.round_to, or keep fewer layers",
        )
    return PruneError(
        f"prune.{goal.key}: no cut keeps to {worded(goal.asked, goal.unit)}, the smallest tried, "
        f"{around.more.ratio:.2g} of the channels, comes to {worded(around.more.value, goal.unit)}",
        hint=f"raise prune.{goal.key}, or train with a stronger penalty (sparsity.l1_gamma)",
    )


def _out_of_reach(goal: Goal, around: Bracket, limits: str) -> PruneError:
    less, more = around.less, around.more
    asked, most, least = (worded(value, goal.unit) for value in (goal.asked, less.value, more.value))
    if goal.asked > less.value:
        return PruneError(f"prune.{goal.key}: {asked} is more than the network has, {most}", hint="lower the target")
    if more.value > goal.asked:
        return PruneError(
            f"prune.{goal.key}: {asked} cannot be reached, {limits} leave {least}",
            hint="lower prune.floor or prune.round_to, or raise the target",
        )
    return PruneError(
        f"prune.{goal.key}: {limits} admit no cut near {asked}, but {most} and {least}",
        hint="lower prune.round_to, or take one of these",
    )
