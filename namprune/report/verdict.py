"""What the rows say, in sentences: NAM against each other attention and each control, and what attention costs."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal, TypeAlias

from namprune.report.summary import Row, short
from namprune.table import times

RULE = (
    "Verdicts: difference in top-1 points at the same pictures, cut and total epochs, paired over common seeds: "
    "mean, number n (at least 3) and sample standard deviation SD. Within the spread: |mean| <= SD. "
    "Costs: of the dense network over the plain one; latencies are of separate runs. "
    "At a MACs target each network is within 2 % of it. All hold where the recipes differ in nothing but what is named."
)

CONTROLS = ("random", "l1")
"""Criteria that are no claim of their own beside another."""

LEAST_SEEDS = 3
"""Below, the standard deviation of the differences says next to nothing: two can agree by chance to the last digit."""

Point: TypeAlias = tuple[object, ...]
"""What rows share that may be compared: data, network, cut and epochs; at a MACs target whatever made the cut."""

Contender: TypeAlias = tuple[str, ...]
"""What tells the rows of one point apart: attention, and at a MACs target how the cut was made."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A sentence at one operating point."""

    place: str
    """Network, data and cut."""
    text: str
    stands: Literal["ahead", "level", "behind"] | None = None
    """How NAM does in it; None where nothing is compared with NAM, or too few seeds are there to tell."""


def sentences(rows: Sequence[Row]) -> tuple[str, ...]:
    """The rule, then each verdict with its place; or nothing."""
    found = verdicts(rows)
    return (RULE, *(f"{verdict.place}: {verdict.text}" for verdict in found)) if found else ()


def verdicts(rows: Sequence[Row]) -> tuple[Verdict, ...]:
    """At each operating point one per rival of NAM and one cost per attention."""
    points: dict[Point, dict[Contender, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        points[_point(row)][_contender(row)].append(row)
    return tuple(verdict for point in points.values() for verdict in _at(point))


def _point(row: Row) -> Point:
    # A shape from scratch is trained for as long as its rivals were trained and fine-tuned.
    epochs = row.epochs if row.kind == "scratch" else row.epochs + (row.dense_epochs or 0)
    how = (row.criterion, row.scope) if row.target_macs is None else ()
    return (row.data, row.data_digest, row.model, row.cuts, how, row.dense_epochs, epochs)


def _contender(row: Row) -> Contender:
    return (row.attention, row.kind, str(row.criterion), str(row.scope))


def _at(point: Mapping[Contender, Sequence[Row]]) -> Iterator[Verdict]:
    """Those at one operating point, given its rows by contender."""
    rows = [alike[0] for alike in point.values() if len(alike) == 1]
    plain = next((row for row in rows if short(row.attention) == "none"), None)
    for nam in _leaders(rows):
        for rival in rows:
            other = short(rival.attention) != "nam" or (rival is not nam and rival.attention == nam.attention)
            if other and set(nam.seeds) & set(rival.seeds):
                yield _verdict(nam, rival)
    if plain is not None and plain.kind == "dense":
        yield from (_cost(row, plain) for row in rows if row is not plain)
    for alike in point.values():
        if len(alike) > 1 and len(point) > 1:
            said = f"{alike[0].attention} is not compared, there are runs of {len(alike)} recipes: name some."
            yield Verdict(place=_place(alike[0]), text=said)


def _leaders(rows: Sequence[Row]) -> Sequence[Row]:
    """NAM's rows that the others are measured against: not its controls, which share the point at a MACs target."""
    nam = [row for row in rows if short(row.attention) == "nam" and row.kind != "scratch"]
    own = [row for row in nam if row.criterion == "nam"] or [row for row in nam if row.criterion not in CONTROLS] or nam
    return [row for row in own if row.scope == "global"] or own


def _verdict(nam: Row, rival: Row) -> Verdict:
    ours, theirs = (dict(zip(row.seeds, row.top1s, strict=True)) for row in (nam, rival))
    differences = [100 * (ours[seed] - theirs[seed]) for seed in nam.seeds if seed in theirs]
    mean, n = fmean(differences), len(differences)
    place, other, at_cost = _place(nam), _rival(nam, rival), f"at {times(nam.macs / rival.macs)} its MACs"
    if n < LEAST_SEEDS:
        seeds = "one seed" if n == 1 else f"{n} seeds"
        said = f"{nam.attention} against {other}: {mean:+.2f} points, {at_cost}, but {seeds} cannot tell."
        return Verdict(place=place, text=said)
    spread = stdev(differences)
    paired = f"{mean:+.2f} points (n = {n}, SD {spread:.2f}), {at_cost}"
    if abs(mean) <= spread:
        return Verdict(place=place, text=f"{nam.attention} is within the spread of {other}: {paired}.", stands="level")
    if mean > 0:
        return Verdict(place=place, text=f"{nam.attention} is ahead of {other}: {paired}.", stands="ahead")
    return Verdict(place=place, text=f"{nam.attention} is behind {other}: {paired}.", stands="behind")


def _rival(nam: Row, rival: Row) -> str:
    """A rival by what it differs in from NAM's row."""
    alike = (rival.criterion, rival.scope) == (nam.criterion, nam.scope)
    cut = "" if alike else f" cut by {rival.criterion} {rival.scope}"
    own = "its own network" if cut or rival.kind != "scratch" else "its own shape"
    name = (own if rival.attention == nam.attention else rival.attention) + cut
    return f"{name} from scratch" if rival.kind == "scratch" else name


def _cost(row: Row, plain: Row) -> Verdict:
    """Cost of a dense network beside the plain one; latencies only where one device took both."""
    parts = [f"parameters {_increase(row.params, plain.params)}", f"MACs {_increase(row.macs, plain.macs)}"]
    if row.devices == plain.devices:
        base = {timed.batch: timed for timed in plain.latency}
        for timed in row.latency:
            if other := base.get(timed.batch):
                mark = "~" if timed.noisy or other.noisy else ""
                parts.append(f"latency b{timed.batch} {mark}{times(timed.seconds / other.seconds)}")
    return Verdict(place=_place(row), text=f"{row.attention} costs over the plain network: {', '.join(parts)}.")


def _increase(value: float, base: float) -> str:
    return f"{100 * (value / base - 1):+.2f} %"


def _place(row: Row) -> str:
    return f"{row.model} on {row.data}, {row.point}"
