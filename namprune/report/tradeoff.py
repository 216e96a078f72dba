"""The lines of the trade-off plots: what may be compared in one, what belongs together, and the Pareto front."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from namprune.report.summary import Row, short

LEAST_ROWS = 2
"""Fewer rows that were timed at a batch size are no plot."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A row of the report, on a plot."""

    row: Row
    cost: float
    """Multiply-accumulates of one picture, or seconds of a forward pass."""
    top1: float
    """A share in [0, 1]."""
    spread: float | None
    front: bool
    """Whether no other row of the plot is as accurate at less cost, or more accurate at as little."""
    noisy: bool
    """Whether a latency spread too much to be taken for the network's own."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """Rows of one attention that were made in the same way."""

    name: str
    """`nam`, `nam, l1 global`, `nam, from scratch`, and what else tells it from the other lines of the plot."""
    attention: str
    """Its name alone, which the colour is for."""
    points: tuple[Point, ...]
    """By falling MACs, behind the dense network that they were cut from, if any: a latency may go back and forth."""

    @property
    def scratch(self) -> bool:
        """Whether they were trained from fresh weights, and cut from no dense network."""
        return self.points[0].row.kind == "scratch"


@dataclass(frozen=True, kw_only=True)
class Plane:
    """One plot: the rows of one network on one data set, over one cost."""

    title: str
    cost: Literal["macs", "latency"]
    batch: int | None
    """Pictures of the forward pass, of a latency."""
    lines: tuple[Line, ...]


Priced: TypeAlias = Sequence[tuple[Row, float]]
"""Rows, each with its cost."""

_Key: TypeAlias = tuple[str, str | None, str, int | None]
"""What the rows of a line share: attention, recipe of the dense network, way of the cut and its epochs."""


def planes(rows: Sequence[Row]) -> tuple[Plane, ...]:
    """The plots of a report: of each network on each data set over the MACs, then over each latency that was taken of
    two rows or more on one device. Rows without a finite accuracy and cost are left out."""
    comparable: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if math.isfinite(row.top1):
            comparable[row.model, row.data, row.data_digest].append(row)
    titles = Counter((model, data) for model, data, _ in comparable)
    found: list[Plane] = []
    for (model, data, digest), alike in comparable.items():
        version = f", pictures {digest[:8]}" if titles[model, data] > 1 else ""
        found += _planes(alike, title=f"{model} on {data}{version}")
    return tuple(found)


def _planes(rows: Sequence[Row], *, title: str) -> Iterator[Plane]:
    """Of rows that may be compared."""
    yield from _plane([(row, row.macs) for row in rows], title=title, cost="macs")
    timed: dict[tuple[int, str], list[tuple[Row, float]]] = defaultdict(list)
    for row in rows:
        for entry in row.latency:
            timed[entry.batch, row.devices[0]].append((row, entry.seconds))
    devices = {device for _, device in timed}
    for (batch, device), priced in sorted(timed.items()):
        if len(priced) >= LEAST_ROWS:
            where = f", {device}" if len(devices) > 1 else ""
            yield from _plane(priced, title=title + where, cost="latency", batch=batch)


def _plane(
    priced: Priced, *, title: str, cost: Literal["macs", "latency"], batch: int | None = None
) -> Iterator[Plane]:
    usable = [(row, value) for row, value in priced if math.isfinite(value) and value > 0]
    if usable:
        front = pareto_front([(value, row.top1) for row, value in usable])
        points = [_point(row, value, on, batch=batch) for (row, value), on in zip(usable, front, strict=True)]
        yield Plane(title=title, cost=cost, batch=batch, lines=_lines(points))


def pareto_front(points: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
    """Of each (cost, accuracy), whether no other is better in one and at least as good in the other."""
    return tuple(
        not any(other != own and other[0] <= own[0] and other[1] >= own[1] for other in points) for own in points
    )


def _point(row: Row, cost: float, front: bool, *, batch: int | None) -> Point:
    spread = row.top1_spread if row.top1_spread is not None and math.isfinite(row.top1_spread) else None
    noisy = any(entry.noisy for entry in row.latency if entry.batch == batch)
    return Point(row=row, cost=cost, top1=row.top1, spread=spread, front=front, noisy=noisy)


def _lines(points: Sequence[Point]) -> tuple[Line, ...]:
    dense: dict[tuple[str, str | None], list[Point]] = defaultdict(list)
    lines: dict[_Key, list[Point]] = defaultdict(list)
    for point in sorted(points, key=lambda point: -point.row.macs):
        row = point.row
        if row.kind == "dense":
            dense[row.attention, row.family].append(point)
        else:
            lines[row.attention, row.family, row.way, row.epochs].append(point)
    for start, whole in dense.items():
        cut = [key for key, own in lines.items() if key[:2] == start and own[0].row.kind == "pruned"]
        for key in cut or [(*start, whole[0].row.way, None)]:
            lines[key] = whole + lines[key]
    keys = sorted(lines, key=lambda key: (key[0], key[2] != "", str(key)))  # the usual way first
    names = _names([(key, lines[key][-1].row) for key in keys])
    return tuple(
        Line(name=name, attention=short(key[0]), points=tuple(lines[key]))
        for name, key in zip(names, keys, strict=True)
    )


def _names(lines: Sequence[tuple[_Key, Row]]) -> list[str]:
    """Of each line, with what tells it apart, and no more than that."""
    variants = Counter(short(attention) for attention in {key[0] for key, _ in lines})
    names = [
        ", ".join(filter(None, (short(key[0]) if variants[short(key[0])] == 1 else key[0], key[2]))) for key, _ in lines
    ]
    for told in (_epochs, lambda row: row.runs[0]):
        names = _told_apart(names, [row for _, row in lines], told)
    return names


def _told_apart(names: Sequence[str], rows: Sequence[Row], told: Callable[[Row], str]) -> list[str]:
    suffixes: dict[str, set[str]] = defaultdict(set)
    for name, row in zip(names, rows, strict=True):
        suffixes[name].add(told(row))
    return [f"{name}, {told(row)}" if len(suffixes[name]) > 1 else name for name, row in zip(names, rows, strict=True)]


def _epochs(row: Row) -> str:
    """How long it was trained: what more training gives is no merit of the network."""
    trained = f"{row.dense_epochs} + " if row.kind == "pruned" and row.dense_epochs is not None else ""
    return f"{trained}{row.epochs} epochs"
