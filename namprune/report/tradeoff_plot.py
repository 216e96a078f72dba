"""The trade-off plot as a plotly figure: accuracy over a cost, a line per attention, and the Pareto front."""

from collections import Counter
from itertools import groupby

from namprune.report.palette import colour, marker
from namprune.report.plots import Figure, axis, label, number, polygon
from namprune.report.summary import NOISY
from namprune.report.tradeoff import Line, Plane, Point
from namprune.table import percent, quantity

DASHES = ("solid", "dash", "dot", "dashdot", "12px,3px,3px,3px,3px,3px", "2px,7px")
"""Of the lines of one attention, each after the other."""

NAMED = 3
"""Runs of a point that are named as the mouse is over it."""


def trade_off(plane: Plane) -> Figure:
    """Accuracy over cost: a line per attention in a band of the spread; full markers are on the Pareto front."""
    seen: Counter[str] = Counter()
    bands, lines = [], []
    for index, line in enumerate(plane.lines):
        bands.append(_band(line, index))
        lines.append(_line(line, index, DASHES[seen[line.attention] % len(DASHES)]))
        seen[line.attention] += 1
    unit = {"ticksuffix": "s"} if plane.cost == "latency" else {}
    title = f"Measured {cost_name(plane)}" if unit else "Multiply-accumulates of one picture (MACs)"
    return {
        "data": [_front(plane), *bands, *lines],
        "layout": {
            "height": 440,
            "hovermode": "closest",
            "xaxis": axis(title, rangemode="tozero", tickformat="~s", **unit),
            "yaxis": axis("Test top-1, %"),
        },
    }


def cost_name(plane: Plane) -> str:
    """In two words."""
    return "MACs" if plane.cost == "macs" else f"latency, batch {plane.batch}"


def remarks(plane: Plane) -> str:
    """What is to be known of the plot: what the bands are, and how sure the latencies."""
    points = {point.row.runs: point for line in plane.lines for point in line.points}.values()
    found = (
        ["Bands and bars: ± standard deviation over seeds."]
        if any(point.spread is not None for point in points)
        else []
    )
    if plane.cost == "latency":
        noisy = f"{sum(point.noisy for point in points)} of {len(points)} vary by more than {100 * NOISY:g} %"
        found.append(f"Runs were timed apart, {noisy}: ratios in the table are to the dense network, timed in turns.")
    return " ".join(found)


def _line(line: Line, index: int, dash: str) -> Figure:
    own = colour(line.attention)
    alone = len(line.points) == 1  # with no line to be seen, nor a band
    bar = [number(100 * (point.spread or 0)) for point in line.points] if alone else []
    return {
        "type": "scatter",
        "mode": "markers" if alone else "lines+markers",
        "error_y": {"array": bar, "visible": any(bar), "color": own, "thickness": 1, "width": 3},
        "uid": f"line{index}",
        "name": label(line.name),
        "x": [number(point.cost) for point in line.points],
        "y": [number(100 * point.top1) for point in line.points],
        "hovertext": [_hover(line, point) for point in line.points],
        "hoverinfo": "text",
        "line": {"color": own, "dash": dash, "width": 2},
        "marker": {
            "symbol": marker(line.attention, scratch=line.scratch),
            "size": 9,
            "color": [own if point.front else "@card" for point in line.points],
            "line": {"color": own, "width": 2},
        },
    }


def _hover(line: Line, point: Point) -> str:
    row = point.row
    latency = [f"{'~' * t.noisy}{quantity(t.seconds, 's')} (b{t.batch})" for t in row.latency]
    seeds = ", ".join(map(str, row.seeds))
    lines = (
        f"<b>{label(row.attention if row.kind == 'dense' else line.name)}</b>",  # many lines begin with it
        label(row.point),
        f"top-1 {percent(point.top1, spread=point.spread)} %",
        f"{quantity(row.macs)} MACs",
        *latency,
        f"{'seed' if len(row.seeds) == 1 else 'seeds'} {seeds}",
        *map(label, row.runs[:NAMED]),
        *([f"and {len(row.runs) - NAMED} more"] if len(row.runs) > NAMED else []),
        *(["on the Pareto front"] if point.front else []),
    )
    return "<br>".join(lines)


def _band(line: Line, index: int) -> Figure:
    """Top-1 plus and minus its spread, where neighbours on the line have one."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for known, group in groupby(line.points, key=lambda point: point.spread is not None):
        if known:
            points = tuple(group)
            edges = [(p.cost, p.top1 + (p.spread or 0)) for p in points]
            edges += [(p.cost, p.top1 - (p.spread or 0)) for p in reversed(points)]
            xs += [number(x) for x, _ in edges] + [None]
            ys += [number(100 * y) for _, y in edges] + [None]
    red, green, blue = (int(colour(line.attention)[at : at + 2], 16) for at in (1, 3, 5))
    return polygon(xs, ys, f"rgba({red}, {green}, {blue}, 0.1)") | {"uid": f"band{index}"}


def _front(plane: Plane) -> Figure:
    """The steps below which no network need be taken."""
    on = sorted({(p.cost, p.top1) for line in plane.lines for p in line.points if p.front})
    return {
        "type": "scatter",
        "mode": "lines",
        "uid": "front",
        "name": "Pareto front",
        "x": [number(cost) for cost, _ in on],
        "y": [number(100 * top1) for _, top1 in on],
        "hoverinfo": "skip",
        "line": {"color": "@front", "width": 5, "shape": "hv"},
    }
