"""What the rows say, in sentences: NAM against each other attention and each control, and what attention costs."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import TypeAlias

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


def sentences(rows: Sequence[Row]) -> tuple[str, ...]:
    """The rule, then at each operating point one verdict per rival of NAM and one cost per attention; or nothing."""
    points: dict[Point, dict[Contender, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        points[_point(row)][_contender(row)].append(row)
    found = [line for point in points.values() for line in _at(point)]
    return (RULE, *found) if found else ()


def _point(row: Row) -> Point:
    # A shape from scratch is trained for as long as its rivals were trained and fine-tuned.
    epochs = row.epochs if row.kind == "scratch" else row.epochs + (row.dense_epochs or 0)
    how = (row.criterion, row.scope) if row.target_macs is None else ()
    return (row.data, row.data_digest, row.model, row.cuts, how, row.dense_epochs, epochs)


def _contender(row: Row) -> Contender:
    return (row.attention, row.kind, str(row.criterion), str(row.scope))


def _at(point: Mapping[Contender, Sequence[Row]]) -> Iterator[str]:
    """Sentences at one operating point, given its rows by contender."""
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
            who = f"{_place(alike[0])}: {alike[0].attention}"
            yield f"{who} is not compared, there are runs of {len(alike)} recipes: name some."


def _leaders(rows: Sequence[Row]) -> Sequence[Row]:
    """NAM's rows that the others are measured against: not its controls, which share the point at a MACs target."""
    nam = [row for row in rows if short(row.attention) == "nam" and row.kind != "scratch"]
    own = [row for row in nam if row.criterion == "nam"] or [row for row in nam if row.criterion not in CONTROLS] or nam
    return [row for row in own if row.scope == "global"] or own


def _verdict(nam: Row, rival: Row) -> str:
    ours, theirs = (dict(zip(row.seeds, row.top1s, strict=True)) for row in (nam, rival))
    differences = [100 * (ours[seed] - theirs[seed]) for seed in nam.seeds if seed in theirs]
    mean, n = fmean(differences), len(differences)
    at_cost = f"at {times(nam.macs / rival.macs)} its MACs"
    head = f"{_place(nam)}: {nam.attention}"
    if n < LEAST_SEEDS:
        seeds = "one seed" if n == 1 else f"{n} seeds"
        return f"{head} against {_rival(nam, rival)}: {mean:+.2f} points, {at_cost}, but {seeds} cannot tell."
    spread = stdev(differences)
    paired = f"{mean:+.2f} points (n = {n}, SD {spread:.2f}), {at_cost}"
    if abs(mean) <= spread:
        return f"{head} is within the spread of {_rival(nam, rival)}: {paired}."
    return f"{head} is {'ahead of' if mean > 0 else 'behind'} {_rival(nam, rival)}: {paired}."


def _rival(nam: Row, rival: Row) -> str:
    """A rival by what it differs in from NAM's row."""
    alike = (rival.criterion, rival.scope) == (nam.criterion, nam.scope)
    cut = "" if alike else f" cut by {rival.criterion} {rival.scope}"
    own = "its own network" if cut or rival.kind != "scratch" else "its own shape"
    name = (own if rival.attention == nam.attention else rival.attention) + cut
    return f"{name} from scratch" if rival.kind == "scratch" else name


def _cost(row: Row, plain: Row) -> str:
    """Cost of a dense network beside the plain one; latencies only where one device took both."""
    parts = [f"parameters {_increase(row.params, plain.params)}", f"MACs {_increase(row.macs, plain.macs)}"]
    if row.devices == plain.devices:
        base = {timed.batch: timed for timed in plain.latency}
        for timed in row.latency:
            if other := base.get(timed.batch):
                mark = "~" if timed.noisy or other.noisy else ""
                parts.append(f"latency b{timed.batch} {mark}{times(timed.seconds / other.seconds)}")
    return f"{_place(row)}: {row.attention} costs over the plain network: {', '.join(parts)}."


def _increase(value: float, base: float) -> str:
    return f"{100 * (value / base - 1):+.2f} %"


def _place(row: Row) -> str:
    return f"{row.model} on {row.data}, {row.point}"
