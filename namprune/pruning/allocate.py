"""How many channels each group gives: exact counts under a floor and a divisor.

Each group offers its least important channels in blocks that bring its width from one allowed value to the next
lower one (with `round_to=1` a block is one channel, or the channels that only go at once). Blocks go in the order of
their mean score, as many as the count asked for admits: never more than asked, never below the floor, ties in order of
position. A share counts from the width that a group had before any earlier cut, and so does the floor: several cuts end
where one would.
"""

import heapq
import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from namprune.choices import Scope


def allocate(
    scores: Sequence[Tensor],
    *,
    ratio: float,
    scope: Scope = "global",
    floor: float = 0.1,
    round_to: int = 1,
    held: Mapping[int, int] | None = None,
    fixed: Mapping[int, float] | None = None,
    full: Sequence[int] | None = None,
    units: Sequence[Tensor | None] | None = None,
) -> list[Tensor]:
    """Indices to keep per group, ascending, given the (size,) scores of each group.

    `global` removes `round(ratio * all channels)` together, `local` `round(ratio * size)` of each group;
    less where floor or divisor do not admit that much. By position of the groups, `held` gives some a least width of
    their own, `fixed` a ratio of their own, which they have apart from the others, and `full` are the widths that
    ratios and floor count from, where groups are narrower by now. `units` say of some groups which channels only go at
    once: a number for each, all numbers equally often. These rank by the mean of their scores.
    """
    sizes = [len(score) for score in scores]
    units = units or [None] * len(scores)
    full, fixed = full or sizes, fixed or {}
    orders = [_ascending(score, unit) for score, unit in zip(scores, units, strict=True)]
    ranked = [score[order] for score, order in zip(scores, orders, strict=True)]
    steps = [math.lcm(round_to, 1 if unit is None else int((unit == unit[0]).sum())) for unit in units]
    least = [_least(now, before, floor, step) for now, before, step in zip(sizes, full, steps, strict=True)]
    for group, width in (held or {}).items():
        least[group] = max(least[group], width)
    others = [group for group in range(len(sizes)) if group not in fixed]
    pools = [([group], share) for group, share in fixed.items()]
    pools += [([group], ratio) for group in others] if scope == "local" else [(others, ratio)]
    removed = dict.fromkeys(range(len(sizes)), 0)
    for pool, share in pools:
        before = sum(full[group] for group in pool)
        wanted = _count(share, before) - (before - sum(sizes[group] for group in pool))
        gone = _remove([_blocks(ranked[group], least[group], steps[group]) for group in pool], wanted)
        removed |= zip(pool, gone, strict=True)
    return [order[removed[group] :].sort().values for group, order in enumerate(orders)]


def least_width(size: int, *, floor: float, round_to: int) -> int:
    """The narrowest width a group of `size` may get: the floor, rounded up to a multiple of the divisor."""
    return min(size, math.ceil(max(1, math.ceil(floor * size - 1e-9)) / round_to) * round_to)


def _least(size: int, before: int, floor: float, round_to: int) -> int:
    return min(size, least_width(before, floor=floor, round_to=round_to))


def _count(ratio: float, size: int) -> int:
    return int(ratio * size + 0.5)


def _ascending(score: Tensor, units: Tensor | None) -> Tensor:
    """Indices in the order of the scores, those of a unit together."""
    if units is None:
        return score.argsort(stable=True)
    means = score.new_zeros(int(units.max()) + 1).scatter_reduce(0, units, score, "mean", include_self=False)
    ranks = means.argsort(stable=True).argsort()
    return ranks[units].argsort(stable=True)


def _remove(steps: Sequence[Sequence[tuple[float, int]]], wanted: int) -> list[int]:
    """How many channels each group loses, step by step, so that together they lose as many of `wanted` as possible."""
    removed = [0] * len(steps)
    # The scores of a group's blocks rise, so the cheapest block at hand is always some group's next one.
    offers = [(*blocks[0], group, 0) for group, blocks in enumerate(steps) if blocks]
    heapq.heapify(offers)
    while offers and wanted > 0:
        _, block, group, index = heapq.heappop(offers)
        if block > wanted:
            continue  # this group's next step is too wide; a narrower one of another group may still fit
        removed[group] += block
        wanted -= block
        if index + 1 < len(steps[group]):
            heapq.heappush(offers, (*steps[group][index + 1], group, index + 1))
    return removed


def _blocks(ascending: Tensor, least: int, round_to: int) -> list[tuple[float, int]]:
    """(mean score, channels) of each step from the full width down to the least."""
    ascending = ascending.double()
    width, blocks = len(ascending), []
    while width > least:
        block = min(width % round_to or round_to, width - least)
        start = len(ascending) - width
        blocks.append((float(ascending[start : start + block].mean()), block))
        width -= block
    return blocks
